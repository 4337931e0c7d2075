#!/usr/bin/python3
"""cdr_logger.agi as one would write it in Python: POSTs the record to the back end's log_call API."""
import os
import sys
from datetime import datetime
from urllib.parse import unquote

import requests

WANTED = ["CHANNEL(linkedid)", "CC_DID", "CC_START", "CC_ANSWERED", "CC_END", "CC_STATUS", "CC_CALL_STATUS",
          "DIALSTATUS", "HANGUPCAUSE", "EFFECTIVE_CCS_ID", "USER_ID", "CAMPAIGN_ID", "DID_ID", "CLIENT_ID", "UNIQUEID"]


def command(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return sys.stdin.readline().rstrip("\n")


def seconds(begin, end):
    def parse(text):
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int((parse(end) - parse(begin)).total_seconds()) if begin and end else 0


environment = {}
while line := sys.stdin.readline().rstrip("\n"):
    name, _, value = line.partition(": ")
    environment[name] = value
expression = "&".join("${URIENCODE(${%s})}" % name for name in WANTED)
answer = command('GET FULL VARIABLE "%s"' % expression)
said = dict(zip(WANTED, (unquote(v) or None for v in answer[answer.index("(") + 1 : answer.rindex(")")].split("&"))))
number = {name: int(value) if (value := said[name]) else None
          for name in ("EFFECTIVE_CCS_ID", "USER_ID", "CAMPAIGN_ID", "DID_ID", "CLIENT_ID", "HANGUPCAUSE")}
start, answered, end = said["CC_START"], said["CC_ANSWERED"], said["CC_END"]
response = requests.post(os.environ["INTERNAL_API_URL"], timeout=5, headers={"X-Internal-API-Token": "token"}, json={
    "incomingDidNumber": said["CC_DID"], "timestampStart": start, "timestampAnswered": answered, "timestampEnd": end,
    "durationSeconds": seconds(start, end), "billsecSeconds": seconds(answered, end),
    "callStatus": "ANSWERED" if said["DIALSTATUS"] == "ANSWER" else said["DIALSTATUS"] or "FAILED",
    "userId": number["USER_ID"], "campaignId": number["CAMPAIGN_ID"], "didId": number["DID_ID"],
    "clientId": number["CLIENT_ID"], "campaignClientSettingId": number["EFFECTIVE_CCS_ID"],
    "callerIdNum": environment.get("agi_callerid"), "callerIdName": environment.get("agi_calleridname"),
    "hangupCauseCode": number["HANGUPCAUSE"], "asteriskUniqueid": environment["agi_uniqueid"],
    "asteriskLinkedid": said["CHANNEL(linkedid)"]})
response.raise_for_status()
