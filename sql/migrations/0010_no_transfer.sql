-- A client's transfer would take a call away from its record, its place and its limit: Asterisk is told "no" whatever
-- stands here (sql/routines/realtime.sql), and documents refuse "yes".
UPDATE pjsip_endpoints SET allow_transfer = NULL WHERE allow_transfer = 'yes';
