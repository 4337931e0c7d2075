//! cc-route.agi: asks the database for one claimed target and sets the channel variables that the
//! dialplan acts on.
//!
//! Exit 0 for every decision, a rejection included; 1 when no decision could be made, with
//! `CC_STATUS=error`. The dialplan fails closed on anything else.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use chrono::DateTime;

use crate::agi::channel::Channel;
use crate::agi::session::{AgiError, Session};
use crate::config::Config;
use crate::model::call::{Attempt, Decision, RouteRequest};
use crate::model::call_id;
use crate::model::sip::is_diallable;
use crate::system::clock::Reading;
use crate::{Error, Result, pg, store, text};

/// What is asked of the channel, in one exchange.
const WANTED: [(&str, &str); 8] = [
    ("linkedid", "CHANNEL(linkedid)"),
    ("system_name", "SYSTEMNAME"),
    ("did", "CC_DID"),
    ("dial_status", "DIALSTATUS"),
    ("hangup_cause", "HANGUPCAUSE"),
    ("attempt", "CC_ATTEMPT"),
    ("start", "CC_START"),
    // set by the dialplan; goes before Asterisk's
    ("cause", "CC_CAUSE"),
];

/// How it names itself to the database and in logs.
const PROGRAM: &str = "cc-route.agi";

/// Q.850 42, which Asterisk answers with 503, so that the carrier tries another route.
const CAUSE_NO_DECISION: &str = "42";

/// Runs the program on this process's streams.
#[must_use]
pub fn main() -> ExitCode {
    if crate::agi::is_run_by_hand(PROGRAM) {
        return ExitCode::from(crate::Kind::Usage.exit_code());
    }
    let config = Config::load();
    let outcome = Session::start(std::io::stdin().lock(), std::io::stdout().lock()).and_then(|mut session| {
        let decided = attend(&mut session, config.as_ref(), |config, request| {
            pg::with_deadline(config, PROGRAM, move |client| store::route::claim(client, &request))
        })?;
        decided.or_else(|error| tell(&mut session, &error))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One session: read, decide, set. `decide` asks the database. Returns its error where no decision could be made:
/// nothing is set then.
pub(super) fn attend<R: BufRead, W: Write>(
    session: &mut Session<R, W>,
    config: Result<&Config, &Error>,
    decide: impl FnOnce(&Config, RouteRequest) -> Result<Decision>,
) -> Result<Result<()>, AgiError> {
    let (dialled, request) = ask(session)?;
    let uniqueid = request.uniqueid.clone();
    let decision = config.map_err(Error::clone).and_then(|config| {
        let request = checked(&dialled, request, config)?;
        decide(config, request)
    });
    if let Ok(Decision::Proceed(Attempt { kept_as: Some(id), .. }) | Decision::Reject { kept_as: Some(id), .. }) =
        &decision
    {
        // the logger must find the call by it
        session.set_text("CC_CALL_ID", id)?;
        session.log(
            "WARNING",
            &format!(
                "{PROGRAM}: another call had the unique id {uniqueid}: this one is recorded as {id}. Was this server restored \
                 from a snapshot, or has another one its systemname?"
            ),
        )?;
    }
    match decision.and_then(check) {
        Ok(Decision::Proceed(attempt)) => proceed(session, &attempt)?,
        Ok(Decision::Reject { reason, call_status, hangup_cause, passed_over, .. }) => {
            // first, since the dialplan may act on the others at once
            if let Some(passed_over) = passed_over {
                session.set_text("CC_PASSED_OVER", &passed_over)?;
            }
            session.set_variables(&[
                ("CC_STATUS", "reject"),
                ("CC_REASON", &reason),
                ("CC_CALL_STATUS", &call_status),
                ("CC_HANGUP_CAUSE", &hangup_cause.to_string()),
            ])?;
        }
        Err(error) => return Ok(Err(error)),
    }
    Ok(Ok(()))
}

/// Says that no decision could be made, and why.
fn tell<R: BufRead, W: Write>(session: &mut Session<R, W>, error: &Error) -> Result<(), AgiError> {
    log::error!("{PROGRAM}: no decision: {}", error.message);
    session.set_variables(&[
        ("CC_STATUS", "error"),
        ("CC_REASON", error.kind.name()),
        ("CC_HANGUP_CAUSE", CAUSE_NO_DECISION),
    ])?;
    session.log("ERROR", &format!("{PROGRAM}: no decision: {}", error.message))?;
    Err(AgiError::Protocol("no decision"))
}

/// The number as the carrier sent it, and the request that this channel makes.
fn ask<R: BufRead, W: Write>(session: &mut Session<R, W>) -> Result<(String, RouteRequest), AgiError> {
    let uniqueid = text::decode(session.environment("agi_uniqueid").unwrap_or_default());
    let extension = text::decode(session.environment("agi_extension").unwrap_or_default());
    let channel = Channel::ask(session, &WANTED)?;
    let dial_status = channel.text("dial_status", 20);
    let dialled = Some(channel.dialled("did")).filter(|did| !did.is_empty()).unwrap_or(extension);
    let request = RouteRequest {
        did: None,
        uniqueid: call_id::kept_id(&uniqueid),
        linkedid: channel.id("linkedid"),
        system_name: channel.id("system_name"),
        caller_id_num: session.caller_id("agi_callerid", 50),
        caller_id_name: session.caller_id("agi_calleridname", 100),
        // before the first Dial, HANGUPCAUSE is 0
        hangup_cause: dial_status
            .as_ref()
            .and_then(|_| channel.number("cause").or_else(|| channel.number("hangup_cause"))),
        // a dialplan of another kind may have dialled before
        known_attempt: channel.number("attempt").or(dial_status.is_none().then_some(0)),
        dial_status,
        start: DateTime::parse_from_rfc3339(channel.get("start")).ok().map(|time| time.to_utc()),
    };
    Ok((dialled, request))
}

/// The request as the database takes it, with its number.
fn checked(dialled: &str, request: RouteRequest, config: &Config) -> Result<RouteRequest> {
    if request.uniqueid.is_empty() {
        return Err(Error::invalid("agi_uniqueid is missing"));
    }
    Ok(RouteRequest { did: config.number_rules()?.normalize(dialled), ..request })
}

/// Refuses a target that could mean something else to Dial than an endpoint.
fn check(decision: Decision) -> Result<Decision> {
    if let Decision::Proceed(attempt) = &decision
        && !is_diallable(&attempt.client_identifier)
    {
        return Err(Error::invalid("the database names a client that cannot be dialled safely"));
    }
    Ok(decision)
}

fn proceed<R: BufRead, W: Write>(session: &mut Session<R, W>, attempt: &Attempt) -> Result<(), AgiError> {
    session.set_variables(&[
        ("CC_STATUS", "proceed"),
        ("CC_REASON", ""),
        // until this client is dialled, the previous one's outcome is not the call's
        ("DIALSTATUS", ""),
        ("EFFECTIVE_CCS_ID", &attempt.setting_id.to_string()),
        ("CLIENT_IDENTIFIER", &attempt.client_identifier),
        ("CAMPAIGN_ID", &attempt.campaign_id.to_string()),
        ("USER_ID", &attempt.user_id.to_string()),
        ("DID_ID", &attempt.did_id.to_string()),
        ("CLIENT_ID", &attempt.client_id.to_string()),
        ("DIAL_TIMEOUT", &attempt.dial_timeout_seconds.to_string()),
        ("MAX_CALL_SECONDS", &attempt.max_call_seconds.to_string()),
        // the logger sees by it whether the clock has been set since
        ("CC_CLOCK", &Reading::now().to_string()),
        ("CC_ATTEMPT", &attempt.number.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const ENVIRONMENT: &str =
        "agi_uniqueid: node-1.2\nagi_callerid: 555\nagi_calleridname: \"O'Brien\",):1:2\nagi_extension: s\n\n";

    fn attempt(client_identifier: &str) -> Decision {
        Decision::Proceed(Attempt {
            setting_id: 1,
            client_identifier: client_identifier.into(),
            campaign_id: 2,
            user_id: 3,
            did_id: 4,
            client_id: 5,
            dial_timeout_seconds: 20,
            max_call_seconds: 3600,
            number: 1,
            kept_as: None,
        })
    }

    /// What is sent after the environment and the first reply; whether the program succeeds.
    fn session(decision: Result<Decision>) -> (String, bool, RouteRequest) {
        let input = format!("{ENVIRONMENT}200 result=1 (node-1.2&node&18005550101&&0)\n200 result=1\n200 result=1\n");
        let mut output = Vec::new();
        let mut asked = RouteRequest::default();
        let result = Session::start(Cursor::new(input), &mut output).and_then(|mut session| {
            let decided = attend(&mut session, Ok(&Config::default()), |_, request| {
                asked = request;
                decision
            })?;
            decided.or_else(|error| tell(&mut session, &error))
        });
        let output = String::from_utf8(output).expect("utf-8");
        (output.lines().skip(1).map(|l| format!("{l}\n")).collect(), result.is_ok(), asked)
    }

    #[test]
    fn a_target_is_set_in_one_exchange() {
        let (sent, ok, asked) = session(Ok(attempt("acme")));
        assert!(ok);
        assert_eq!(sent.lines().count(), 1, "{sent}");
        assert!(sent.contains("\"proceed,,,1,acme,2,3,4,5,20,3600,") && sent.ends_with(",1\"\n"), "{sent}");
        assert_eq!(asked.did.map(|did| did.to_string()).as_deref(), Some("+18005550101"));
        assert_eq!(asked.caller_id_name.as_deref(), Some("\"O'Brien\",):1:2"));
        assert_eq!((asked.dial_status, asked.hangup_cause, asked.known_attempt), (None, None, Some(0)));
    }

    #[test]
    fn a_rejection_says_whom_it_passed_over() {
        let reject = |passed_over: Option<&str>| {
            Ok(Decision::Reject {
                reason: "no_eligible_clients_available".into(),
                call_status: "REJECTED_CC".into(),
                hangup_cause: 34,
                passed_over: passed_over.map(str::to_owned),
                kept_as: None,
            })
        };
        let set = "SET VARIABLE \"ARRAY(CC_STATUS,CC_REASON,CC_CALL_STATUS,CC_HANGUP_CAUSE)\" \
                   \"reject,no_eligible_clients_available,REJECTED_CC,34\"\n";
        assert_eq!(session(reject(None)).0, set);
        let (sent, ok, _) = session(reject(Some("acme concurrency_cap 5/5, b total_cap 9/9")));
        assert!(ok);
        let text = "SET VARIABLE \"CC_PASSED_OVER\" \"acme concurrency_cap 5/5, b total_cap 9/9\"\n";
        assert_eq!(sent, format!("{text}{set}"));
    }

    #[test]
    fn an_identifier_that_is_a_dial_string_is_no_decision() {
        for name in ["acme&PJSIP/x", "a/b", "a@b", "", "a,b", &"x".repeat(41)] {
            let (sent, ok, _) = session(Ok(attempt(name)));
            assert!(!ok && sent.contains("\"error,invalid,42\""), "{name}: {sent}");
        }
    }

    proptest! {
        /// Whatever the database says, Dial sees a plain endpoint name or nothing.
        #[test]
        fn a_dial_string_is_a_plain_name(name in "(\\PC|[a-zA-Z0-9_&/@,\n-]){0,45}") {
            let plain = (1..=40).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            prop_assert_eq!(check(attempt(&name)).is_ok(), plain);
        }
    }

    #[test]
    fn without_a_database_the_dialplan_is_told() {
        let (sent, ok, _) = session(Err(Error::new(crate::Kind::Unreachable, "away")));
        assert!(!ok);
        assert!(
            sent.starts_with("SET VARIABLE \"ARRAY(CC_STATUS,CC_REASON,CC_HANGUP_CAUSE)\" \"error,unreachable,42\"\n"),
            "{sent}"
        );
        assert!(sent.contains("EXEC Log \"ERROR,cc-route.agi: no decision: away\""), "{sent}");
    }
}
