//! Options of endpoints and AORs beyond the v3.0 columns: their rules, and the one list that the
//! command line, the statements and the checks go by. Their columns are in
//! `sql/migrations/0006_pjsip_options.sql`, and Asterisk sees them in `sql/routines/realtime.sql`.
//!
//! Names, values and defaults are those of Asterisk 22's `res_pjsip` configuration. A null column
//! leaves Asterisk its default, but for the limits of silence, which the view sets.

use std::net::IpAddr;

use crate::model::realtime::Text;
use crate::model::sip::contact_problem;
use crate::{Error, Result};

/// Which of a client's objects has the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// `pjsip_endpoints`
    Endpoint,
    /// `pjsip_aors`
    Aor,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `yes` or `no`.
    YesNo,
    /// No longer offered: only this value is still taken, for this reason.
    Only(&'static str, &'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A whole number from the first to the second.
    Integer(i32, i32),
    /// Seconds with a fraction, from 0 to this.
    Seconds(f64),
    /// An IP address.
    Address,
    /// The user part of a SIP URI.
    User,
    /// A SIP URI of a proxy that routes loosely.
    Proxy,
}

/// An option: a nullable column.
#[derive(Debug, PartialEq)]
pub struct SipOption {
    /// Where it is.
    pub object: Object,
    /// The column, Asterisk's own name.
    pub name: &'static str,
    /// What its value must be.
    pub rule: Rule,
    /// What it does, with Asterisk's default.
    pub about: &'static str,
}

const fn endpoint(name: &'static str, rule: Rule, about: &'static str) -> SipOption {
    SipOption { object: Object::Endpoint, name, rule, about }
}

const fn aor(name: &'static str, rule: Rule, about: &'static str) -> SipOption {
    SipOption { object: Object::Aor, name, rule, about }
}

/// The most seconds that a timer of a call may have: a day.
const DAY: i32 = 86_400;

/// All options, in the order in which they are shown.
pub const OPTIONS: &[SipOption] = &[
    // NAT
    endpoint("rtp_symmetric", Rule::YesNo, "Send media to where media comes from, whatever SDP says; default no"),
    endpoint("force_rport", Rule::YesNo, "Answer requests to the port they came from; default yes"),
    endpoint("rewrite_contact", Rule::YesNo, "Take the client's address from its packets, not its Contact; default no"),
    endpoint("ice_support", Rule::YesNo, "Negotiate media addresses with ICE; default no"),
    // media
    endpoint(
        "dtmf_mode",
        Rule::OneOf(&["rfc4733", "inband", "info", "auto", "auto_info"]),
        "How digits are sent; default rfc4733",
    ),
    endpoint(
        "media_encryption",
        // dtls needs certificates, which are files of the server
        Rule::OneOf(&["no", "sdes"]),
        "SRTP, and how its keys are agreed on; default no",
    ),
    endpoint("media_encryption_optimistic", Rule::YesNo, "Encrypt where the client can, else not; default no"),
    endpoint("media_address", Rule::Address, "The IP address of ours that SDP names"),
    endpoint("bind_rtp_to_media_address", Rule::YesNo, "Send media from media_address; default no"),
    endpoint("asymmetric_rtp_codec", Rule::YesNo, "Let the two directions have different codecs; default no"),
    endpoint("use_ptime", Rule::YesNo, "Packets of the length that the client asks for; default no"),
    endpoint(
        "rtp_keepalive",
        Rule::Integer(0, DAY),
        "Seconds between packets that keep a silent stream open; default 0, none",
    ),
    endpoint(
        "rtp_timeout",
        Rule::Integer(0, DAY),
        "End a call after so many seconds without media; 0: never; default 120, with direct_media 0",
    ),
    endpoint(
        "rtp_timeout_hold",
        Rule::Integer(0, DAY),
        "The same while the call is on hold; 0: never; default 1800, with direct_media 0",
    ),
    // call set-up
    endpoint(
        "100rel",
        Rule::OneOf(&["no", "required", "peer_supported", "yes"]),
        "Acknowledged provisional answers (RFC 3262); default yes",
    ),
    endpoint("inband_progress", Rule::YesNo, "Signal ringing in the audio; default no"),
    endpoint("ignore_183_without_sdp", Rule::YesNo, "Do not pass on a 183 that brings no audio; default no"),
    endpoint("timers", Rule::OneOf(&["no", "yes", "required", "always"]), "Session timers (RFC 4028); default yes"),
    endpoint(
        "timers_min_se",
        Rule::Integer(90, DAY),
        "The shortest session timer that is taken, in seconds; default 90",
    ),
    endpoint(
        "timers_sess_expires",
        Rule::Integer(90, DAY),
        "The session timer that is asked for, in seconds; default 1800",
    ),
    endpoint("outbound_proxy", Rule::Proxy, "The proxy that requests go through: sip:HOST;lr"),
    endpoint(
        "allow_transfer",
        Rule::Only("no", "a call that is transferred would leave its place, its time limit and its record behind"),
        "Whether the client may transfer calls; only no: REFER is declined",
    ),
    endpoint("suppress_q850_reason_headers", Rule::YesNo, "Send no Q.850 cause when a call ends; default no"),
    // identities
    endpoint("send_pai", Rule::YesNo, "Send P-Asserted-Identity; default no"),
    endpoint("send_rpid", Rule::YesNo, "Send Remote-Party-ID; default no"),
    endpoint("trust_id_inbound", Rule::YesNo, "Believe the identity that the client sends; default no"),
    endpoint("trust_id_outbound", Rule::YesNo, "Send the client identities that are marked private; default no"),
    endpoint(
        "callerid_privacy",
        Rule::OneOf(&[
            "allowed_not_screened",
            "allowed_passed_screen",
            "allowed_failed_screen",
            "allowed",
            "prohib_not_screened",
            "prohib_passed_screen",
            "prohib_failed_screen",
            "prohib",
            "unavailable",
        ]),
        "Privacy of the caller ID of the client's own calls; default allowed_not_screened",
    ),
    endpoint("send_diversion", Rule::YesNo, "Send Diversion headers; default yes"),
    endpoint("user_eq_phone", Rule::YesNo, "Add user=phone to numbers in URIs; default no"),
    endpoint("contact_user", Rule::User, "The user part of our Contact header"),
    // the AOR: how the contact is qualified
    aor(
        "qualify_timeout",
        Rule::Seconds(60.0),
        "Seconds to wait for the answer that qualifies the contact; 0: as long as SIP does; default 3",
    ),
    aor("qualify_2xx_only", Rule::YesNo, "Only a 2xx answer qualifies the contact; default no"),
    aor(
        "authenticate_qualify",
        Rule::YesNo,
        "Answer a challenge while qualifying; default no, but Asterisk 22 answers wherever it has an outbound_auth",
    ),
];

/// The AOR's column for an endpoint's outbound_proxy: OPTIONS requests take the same way as the calls.
pub const AOR_OUTBOUND_PROXY: &str = "outbound_proxy";

/// The options of one kind of object.
pub fn of(object: Object) -> impl Iterator<Item = &'static SipOption> {
    OPTIONS.iter().filter(move |option| option.object == object)
}

impl SipOption {
    /// The flag of the command line.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Whether the column is a number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self.rule, Rule::Integer(..) | Rule::Seconds(_))
    }

    /// Checks a value that is to be stored; an empty one clears the column.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`], naming the option, the value and the rule.
    pub fn check(&self, value: &str) -> Result<()> {
        let Some(rule) = self.broken_rule(value).filter(|_| !value.is_empty()) else { return Ok(()) };
        let shown = crate::text::truncate(value, 60).escape_debug().to_string();
        let hint = match self.rule {
            Rule::Only(..) => "Nothing was changed. Leave the option out.",
            _ => "Nothing was changed. Asterisk would drop the whole object for it; empty leaves Asterisk its default.",
        };
        Err(Error::invalid(format!("{} \"{shown}\": it must be {rule}", self.name)).hint(hint))
    }

    /// The rule that a value breaks, in words; None where it breaks none.
    fn broken_rule(&self, value: &str) -> Option<String> {
        match self.rule {
            Rule::Only(value_taken, why) => (value != value_taken).then(|| format!("{value_taken}: {why}")),
            Rule::YesNo => (!["yes", "no"].contains(&value)).then(|| "yes or no".to_owned()),
            Rule::OneOf(values) => (!values.contains(&value)).then(|| format!("one of {}", values.join(", "))),
            Rule::Integer(least, most) => {
                let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                let fits = plain && value.parse::<i32>().is_ok_and(|n| (least..=most).contains(&n));
                (!fits).then(|| format!("a whole number from {least} to {most}"))
            }
            Rule::Seconds(most) => {
                let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                let fits = plain && value.parse::<f64>().is_ok_and(|n| (0.0..=most).contains(&n));
                (!fits).then(|| format!("seconds from 0 to {most}"))
            }
            Rule::Address => value.parse::<IpAddr>().err().map(|_| "an IP address".to_owned()),
            Rule::User => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+*#!~".contains(&b);
                let fits = value.len() <= 80 && value.bytes().all(plain);
                (!fits).then(|| "at most 80 of A-Z a-z 0-9 - _ . + * # ! ~".to_owned())
            }
            Rule::Proxy => {
                if let Some(why) = contact_problem(value) {
                    return Some(format!("a SIP URI ({why})"));
                }
                let loose = value.split(';').skip(1).any(|parameter| parameter == "lr");
                if !loose {
                    return Some(
                        "a proxy that routes loosely: end it with ;lr, as in sip:proxy.example.com;lr".to_owned(),
                    );
                }
                (Text(value.to_owned()).encoded().len() > 255).then(|| "at most 255 characters".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str) -> &'static SipOption {
        OPTIONS.iter().find(|option| option.name == name).expect("an option")
    }

    #[test]
    fn values() {
        for (name, good, bad) in [
            ("allow_transfer", &["no", ""][..], &["yes", "maybe"][..]),
            ("rtp_symmetric", &["yes", "no", ""][..], &["true", "YES", "1", " yes"][..]),
            ("dtmf_mode", &["rfc4733", "auto_info"], &["rfc2833", "none;x"]),
            ("timers_min_se", &["90", "86400"], &["89", "86401", "-90", "9e1", "+90", "90 "]),
            ("qualify_timeout", &["0", "3", "0.5", "60"], &["61", "-1", "1e1", "inf", "NaN", ".", "1.2.3"]),
            ("media_address", &["192.0.2.1", "2001:db8::1"], &["host", "192.0.2.256", "[::1]"]),
            ("contact_user", &["us", "+1800*#"], &["a b", "a;b", "a@b", "é"]),
            (
                "outbound_proxy",
                &["sip:proxy;lr", "sip:[::1]:5061;transport=tls;lr"],
                &["sip:proxy", "proxy;lr", "sip:a,sip:b;lr"],
            ),
        ] {
            for value in good {
                assert!(option(name).check(value).is_ok(), "{name} {value}");
            }
            for value in bad {
                assert!(option(name).check(value).is_err(), "{name} {value}");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_value_and_the_rule() {
        let error = option("timers").check("maybe").expect_err("refused");
        assert_eq!(error.message, "timers \"maybe\": it must be one of no, yes, required, always");
    }
}
