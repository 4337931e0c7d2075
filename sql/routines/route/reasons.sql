-- cc_reasons: why a call, or a link of its campaign, is turned down, a row each. src/model/reason.rs has the same rows;
-- tests/it/reasons.rs checks that the two agree, and that functions give only these reasons.
--
--   about         link: cc_look gives it to a link; did: cc_resolve_did to the call; call: cc_route to the call
--   call_status, hangup_cause   what the record and the carrier get. Of the links' reasons, the first row that a link
--                 has decides. Null: the links decide, or the call ends as its last attempt ended
--   passes        it ends by itself, with nothing changed
--   words         what `call explain` says of it; %s: the figures
CREATE OR REPLACE FUNCTION cc_reasons()
RETURNS TABLE (code text, about text, call_status text, hangup_cause integer, passes boolean, words text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
VALUES
    ('concurrency_cap', 'link', 'REJECTED_CC', 34, true, 'it had %s calls at once'),
    ('total_cap', 'link', 'REJECTED_TOTAL', 34, false, 'it had had %s calls in all'),
    ('already_tried', 'link', NULL, NULL, false, 'tried before in this call'),
    ('setting_inactive', 'link', 'REJECTED_NO_CLIENTS', 20, false, 'its setting was inactive'),
    ('client_inactive', 'link', 'REJECTED_NO_CLIENTS', 20, false, 'the client was inactive'),
    ('client_identifier_invalid', 'link', 'REJECTED_NO_CLIENTS', 20, false, 'its identifier cannot be dialled'),
    ('no_endpoint', 'link', 'REJECTED_NO_CLIENTS', 20, false, 'it had no endpoint'),
    ('no_contact', 'link', 'REJECTED_NO_CLIENTS', 20, false, 'its endpoint had no contact'),
    ('did_not_found', 'did', 'REJECTED_DID_NOT_FOUND', 1, false, 'there was no DID of this number'),
    ('did_inactive', 'did', 'REJECTED_DID_INACTIVE', 1, false, 'the DID was inactive'),
    ('owner_inactive', 'did', 'REJECTED_OWNER_INACTIVE', 21, false, 'the DID''s seller was not active'),
    ('no_active_campaign_for_did', 'did', 'REJECTED_NO_ACTIVE_CAMPAIGN_FOR_DID', 20, false, 'the DID fed no active campaign'),
    ('no_active_clients_in_campaign', 'call', 'REJECTED_NO_CLIENTS', 20, false, 'the campaign had no active client'),
    ('no_eligible_clients_available', 'call', NULL, NULL, false, 'no client of the campaign could take it'),
    ('call_ended', 'call', 'ABANDONED', 16, false, 'the caller had hung up'),
    ('attempt_over', 'call', 'FAILED', 42, false, 'the channel had gone on')
$$;
