#!/usr/bin/python3
"""cc-route.agi as one would write it in Python: the same cc_route(), through psycopg2."""
import os
import sys
from urllib.parse import unquote

import psycopg2

WANTED = ["CHANNEL(linkedid)", "SYSTEMNAME", "CC_DID", "DIALSTATUS", "HANGUPCAUSE"]


def command(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return sys.stdin.readline().rstrip("\n")


environment = {}
while line := sys.stdin.readline().rstrip("\n"):
    name, _, value = line.partition(": ")
    environment[name] = value
expression = "&".join("${URIENCODE(${%s})}" % name for name in WANTED)
answer = command('GET FULL VARIABLE "%s"' % expression)
linkedid, system, did, dial_status, cause = (
    unquote(value) or None for value in answer[answer.index("(") + 1 : answer.rindex(")")].split("&"))

connection = psycopg2.connect(os.environ["DATABASE_URL"])
connection.autocommit = True
with connection.cursor() as cursor:
    cursor.execute("SELECT status, setting_id, client_identifier, campaign_id, user_id, did_id, client_id, dial_timeout,"
                   " max_call_seconds, attempt_number FROM cc_route(%s, %s, %s, %s, %s, %s, %s, %s)",
                   (did, environment["agi_uniqueid"], linkedid, system, environment.get("agi_callerid"),
                    environment.get("agi_calleridname"), dial_status, int(cause) if dial_status else None))
    target = cursor.fetchone()
names = ("CC_STATUS,EFFECTIVE_CCS_ID,CLIENT_IDENTIFIER,CAMPAIGN_ID,USER_ID,DID_ID,CLIENT_ID,DIAL_TIMEOUT,"
         "MAX_CALL_SECONDS,CC_ATTEMPT")
command('SET VARIABLE "ARRAY(%s)" "%s"' % (names, ",".join(str(value) for value in target)))
