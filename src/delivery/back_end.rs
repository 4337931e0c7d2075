//! The HTTP sink: the `log_call` API of the v3.0 web back end.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::tls::{RootCerts, TlsConfig};

use crate::model::call::CallRecord;
use crate::{Error, Kind, Result};

/// How long connecting may take, and the whole exchange: the channel waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const MAX_ANSWER: u64 = 64 * 1024;

/// The API and the secret it asks for.
pub struct Api {
    url: String,
    token: String,
}

/// What the API made of a record.
#[derive(Debug)]
pub enum Answer {
    /// 201: it is recorded.
    Recorded,
    /// 409: it was recorded before.
    AlreadyRecorded,
    /// 400, 401, 404 and their like: trying again will not help.
    Refused(Error),
    /// No answer, 5xx, or something that is not this API's answer: try again.
    Unavailable(Error),
}

impl Api {
    /// `url` is that of log_call itself.
    #[must_use]
    pub fn new(url: String, token: String) -> Api {
        Api { url, token }
    }

    /// Posts a record. Redirects are not followed: the token is for this address alone.
    #[must_use]
    pub fn post(&self, record: &CallRecord) -> Answer {
        match self.exchange(record) {
            Ok((status, body)) => {
                log::debug!("the call log API answered {status} to call {}", record.asterisk_uniqueid);
                classify(status, &body)
            }
            Err(error) => Answer::Unavailable(error),
        }
    }

    fn exchange(&self, record: &CallRecord) -> Result<(u16, String)> {
        let failed = |e: ureq::Error| Error::new(Kind::Unreachable, format!("the call log API: {e}"));
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // an internal address is not reached through http_proxy
            .proxy(None)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build()
            .into();
        let mut answer = agent
            .post(&self.url)
            .header("X-Internal-API-Token", &self.token)
            .send_json(body(record))
            .map_err(failed)?;
        let text = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(failed)?;
        Ok((answer.status().as_u16(), String::from_utf8_lossy(&text).into_owned()))
    }
}

fn classify(status: u16, body: &str) -> Answer {
    // logs get the beginning of the back end's answer
    let said: String = body.chars().filter(|c| !c.is_control()).take(200).collect();
    let error = |kind| Error::new(kind, format!("the call log API answered {status}: {said}"));
    match status {
        201 if serde_json::from_str::<Value>(body).is_ok_and(|said| said["status"] == "success") => Answer::Recorded,
        409 => Answer::AlreadyRecorded,
        // these ask to try again
        408 | 425 | 429 => Answer::Unavailable(error(Kind::Unreachable)),
        400..500 => Answer::Refused(error(Kind::Invalid)),
        _ => Answer::Unavailable(error(Kind::Unreachable)),
    }
}

/// The record in the API's names. A rejected call was with no client.
fn body(record: &CallRecord) -> Value {
    let with_client = !record.call_status.starts_with("REJECTED");
    let of_client = |id: Option<i32>| id.filter(|_| with_client);
    json!({
        "incomingDidNumber": record.incoming_did_number,
        "timestampStart": record.timestamp_start,
        "callStatus": record.call_status,
        "asteriskUniqueid": record.asterisk_uniqueid,
        "userId": record.user_id,
        "campaignId": record.campaign_id,
        "didId": record.did_id,
        "clientId": of_client(record.client_id),
        "campaignClientSettingId": of_client(record.campaign_client_setting_id),
        "callerIdNum": record.caller_id_num,
        "callerIdName": record.caller_id_name,
        "timestampAnswered": record.timestamp_answered,
        "timestampEnd": record.timestamp_end,
        "durationSeconds": record.duration_seconds,
        "billsecSeconds": record.billsec_seconds,
        "hangupCauseCode": record.hangup_cause_code,
        "hangupCauseText": record.hangup_cause_text,
        "asteriskLinkedid": record.asterisk_linkedid,
    })
}
