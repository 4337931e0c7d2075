//! Reads libpq's database URLs for a library that knows part of them. Parameters that this release does not support
//! are refused by name, never ignored.

use std::error::Error as _;
use std::path::PathBuf;

use crate::pg::settings::Settings;
use crate::pg::tls::{Mode, Tls};
use crate::{Error, Result};

/// A libpq URL or `key=value` string; SQLAlchemy's `postgresql+psycopg2://` is understood.
///
/// # Errors
/// [`crate::Kind::Invalid`]. The URL is not repeated: it may hold a password.
pub fn parse_url(url: &str) -> Result<Settings> {
    let mut tls = Tls::default();
    let text = match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("postgres") => of_url(rest, &mut tls)?,
        _ => of_pairs(url, &mut tls)?,
    };
    tls.check()?;
    text.parse().map(|database| Settings::new(database, tls)).map_err(|e: postgres::Error| {
        let why = e.source().map(|s| format!(": {s}")).unwrap_or_default();
        Error::invalid(format!("DATABASE_URL cannot be understood{why}"))
            .hint("Write postgresql://user:password@host:5432/capconduit, special characters of the password as %XX.")
    })
}

/// What becomes of a parameter.
enum Use {
    /// The library knows it as it is.
    AsItIs,
    /// It knows the same by this name and value.
    As(&'static str, String),
    /// It is so anyway.
    AsAlways,
}
use Use::{As, AsAlways, AsItIs};

const TLS: &str = "Connections are encrypted with TLS 1.2 or 1.3, as sslmode says. Leave it out.";
const LOGIN: &str = "Logins are by password (SCRAM, MD5), or as pg_hba.conf of the server trusts them. Leave it out.";

/// What is done about a parameter. A value is named only where it is a known word.
fn understood(name: &str, value: &str, tls: &mut Tls) -> Result<Use> {
    let refuse = |what: String, hint: &str| Err(Error::invalid(format!("DATABASE_URL asks for {what}")).hint(hint));
    let no_word = |words: &str| {
        Err(Error::invalid(format!(
            "DATABASE_URL cannot be understood: the value of {name} is none that PostgreSQL knows"
        ))
        .hint(format!("There are: {words}")))
    };
    let given = || Some(value.to_owned()).filter(|value| !value.is_empty());
    match (name, value) {
        ("host" | "hostaddr" | "port" | "dbname" | "user" | "password" | "options" | "application_name", _) => {
            Ok(AsItIs)
        }
        ("connect_timeout" | "tcp_user_timeout" | "keepalives" | "keepalives_idle" | "keepalives_interval", _) => {
            Ok(AsItIs)
        }
        // the second is the library's own
        ("keepalives_count" | "keepalives_retries", _) => Ok(As("keepalives_retries", value.to_owned())),

        ("sslmode", _) => match Mode::NAMES.iter().find(|(known, _)| *known == value) {
            Some((_, mode)) => {
                tls.mode = Some(*mode);
                Ok(AsAlways)
            }
            None => no_word("disable, allow, prefer, require, verify-ca, verify-full"),
        },
        ("ssl" | "requiressl", "true" | "1") => {
            tls.mode = tls.mode.max(Some(Mode::Require));
            Ok(AsAlways)
        }
        ("sslrootcert", _) => {
            tls.root = given();
            if value == "system" {
                tls.mode = Some(Mode::VerifyFull);
            }
            Ok(AsAlways)
        }
        ("sslcert", _) => {
            tls.certificate = given().map(PathBuf::from);
            Ok(AsAlways)
        }
        ("sslkey", _) => {
            tls.key = given().map(PathBuf::from);
            Ok(AsAlways)
        }
        ("sslsni", "0" | "1") => {
            tls.hides_name = value == "0";
            Ok(AsAlways)
        }
        ("ssl_min_protocol_version", "TLSv1.3") => {
            tls.from_13 = true;
            Ok(AsAlways)
        }
        ("ssl_max_protocol_version", "TLSv1.2") => {
            tls.to_12 = true;
            Ok(AsAlways)
        }
        ("ssl_min_protocol_version", "TLSv1" | "TLSv1.1" | "TLSv1.2")
        | ("ssl_max_protocol_version", "TLSv1.3")
        | ("ssl", "false")
        | ("requiressl" | "sslcompression", "0")
        | ("sslcertmode", "allow")
        | ("sslnegotiation", "postgres")
        | ("gssencmode", "disable" | "prefer") => Ok(AsAlways),
        ("channel_binding", "disable" | "prefer" | "require") => {
            tls.is_bound = value == "require";
            Ok(AsItIs)
        }
        ("gssencmode", "require") => {
            refuse("gssencmode=require".to_owned(), "Kerberos encrypts nothing here. Write sslmode=require.")
        }
        (
            "sslnegotiation"
            | "sslcertmode"
            | "sslcompression"
            | "ssl_min_protocol_version"
            | "ssl_max_protocol_version",
            _,
        )
        | ("sslpassword" | "sslcrl" | "sslcrldir" | "sslkeylogfile", _) => refuse(name.to_owned(), TLS),
        ("ssl" | "requiressl" | "sslsni" | "gssencmode" | "channel_binding", _) => no_word("those of libpq's manual"),

        ("target_session_attrs", "any" | "read-write" | "read-only") => Ok(AsItIs),
        // a read-only primary is of no use either way: a primary is read-write, a standby read-only
        ("target_session_attrs", "primary") => Ok(As("target_session_attrs", "read-write".to_owned())),
        ("target_session_attrs", "standby") => Ok(As("target_session_attrs", "read-only".to_owned())),
        ("target_session_attrs", "prefer-standby") => refuse(
            "target_session_attrs=prefer-standby".to_owned(),
            "Calls are routed and recorded by the primary. Write primary or read-write; for reports alone, read-only.",
        ),
        ("target_session_attrs", _) => no_word("any, read-write, read-only, primary, standby"),
        ("load_balance_hosts", "disable") => Ok(AsAlways),
        ("load_balance_hosts", "random") => refuse(
            "load_balance_hosts=random".to_owned(),
            "The hosts are tried in their order. Leave it out, and write the nearest host first.",
        ),
        ("load_balance_hosts", _) => no_word("disable, random"),
        ("client_encoding", _) if ["utf8", "utf-8", "auto"].contains(&value.to_lowercase().as_str()) => Ok(AsAlways),
        ("client_encoding", _) => {
            refuse("another client_encoding than UTF8".to_owned(), "All text is UTF-8. Leave it out.")
        }
        ("fallback_application_name", _) => refuse(name.to_owned(), "Write application_name."),

        ("passfile", _) => refuse(
            name.to_owned(),
            "Password files are not read. Write the password into the URL, and close the env file to others.",
        ),
        ("service" | "servicefile", _) => {
            refuse(name.to_owned(), "Service files are not read. Write host, port, database and user into the URL.")
        }
        ("requirepeer", _) => refuse(
            name.to_owned(),
            "Who owns the server's socket is not looked at. Leave it out; only the server may write to its folder.",
        ),
        ("require_auth" | "krbsrvname" | "gsslib" | "gssdelegation" | "scram_client_key" | "scram_server_key", _) => {
            refuse(name.to_owned(), LOGIN)
        }
        ("replication" | "min_protocol_version" | "max_protocol_version", _) => {
            refuse(name.to_owned(), "It is of no use here. Leave it out.")
        }
        _ if name.starts_with("oauth_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => {
            refuse("a login by OAuth".to_owned(), LOGIN)
        }
        // its name may be a piece of a password
        _ => Err(Error::invalid("DATABASE_URL cannot be understood: it has a parameter that PostgreSQL does not know")
            .hint(
                "Check the spelling behind ?, and write special characters of the password as %XX: @ as %40, ? as %3F.",
            )),
    }
}

/// The URL, from behind `://`, as the library understands it.
fn of_url(rest: &str, tls: &mut Tls) -> Result<String> {
    // a ? in the password begins no parameters
    let from = rest.find('@').map_or(0, |at| at + 1);
    let Some(question) = rest[from..].find('?').map(|at| from + at) else { return Ok(format!("postgresql://{rest}")) };
    let mut kept = Vec::new();
    for pair in rest[question + 1..].split('&').filter(|pair| !pair.is_empty()) {
        let known = pair.split_once('=').and_then(|(name, value)| Some((decoded(name)?, decoded(value)?)));
        // the library says what is wrong with it
        let Some((name, value)) = known else {
            kept.push(pair.to_owned());
            continue;
        };
        match understood(&name, &value, tls)? {
            AsItIs => kept.push(pair.to_owned()),
            As(name, value) => kept.push(format!("{name}={value}")),
            AsAlways => {}
        }
    }
    let question_mark = if kept.is_empty() { "" } else { "?" };
    Ok(format!("postgresql://{}{question_mark}{}", &rest[..question], kept.join("&")))
}

/// `%40` as `@`.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let byte = if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

/// `host=a user='b c'` as the library understands it.
fn of_pairs(text: &str, tls: &mut Tls) -> Result<String> {
    // the library says what is wrong with it
    let Some(pairs) = pairs(text) else { return Ok(text.to_owned()) };
    let mut kept = Vec::new();
    for (name, value) in pairs {
        let (name, value) = match understood(&name, &value, tls)? {
            AsItIs => (name.as_str(), value),
            As(name, value) => (name, value),
            AsAlways => continue,
        };
        kept.push(format!("{name}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'")));
    }
    Ok(kept.join(" "))
}

/// The names and values, where all of them have their form.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let (mut rest, mut pairs) = (text.trim_start(), Vec::new());
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (name, behind) = (name.trim_end(), behind.trim_start());
        if name.is_empty() || name.contains(char::is_whitespace) {
            return None;
        }
        let quoted = behind.strip_prefix('\'');
        let (mut value, mut chars) = (String::new(), quoted.unwrap_or(behind).chars());
        loop {
            match chars.next() {
                Some('\\') => value.push(chars.next()?),
                Some('\'') if quoted.is_some() => break,
                Some(c) if quoted.is_none() && c.is_whitespace() => break,
                Some(c) => value.push(c),
                None if quoted.is_some() => return None,
                None => break,
            }
        }
        pairs.push((name.to_owned(), value));
        rest = chars.as_str().trim_start();
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use postgres::config::{Host, SslMode, TargetSessionAttrs};
    use proptest::prelude::*;

    use super::*;

    /// The same parameter in both forms.
    fn both(name: &str, value: &str) -> [Result<Settings>; 2] {
        let url = format!("postgresql://u:s3cret@h:1/d?application_name=x&{name}={value}");
        let pairs = format!("host=h port = 1 user=u password='s3cret' dbname=d {name}='{value}' application_name=x");
        [parse_url(&url), parse_url(&pairs)]
    }

    #[test]
    fn a_bad_url_is_not_repeated() {
        for url in [
            "postgresql://u:secret@db:port/cc",
            "postgresql://u:p@w?secret=1@db/cc",
            "postgresql://u@db/cc?secret=1",
            "postgresql://u@db/cc?sslmode=secret",
            "host=db password=a secret",
            "host=db password='secret",
            "host=db secret=1",
        ] {
            let error = parse_url(url).expect_err("invalid");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn encryption_is_as_it_is_asked_for() {
        let tls =
            |parameters: &str| parse_url(&format!("postgresql://u@h/d?{parameters}")).map(|settings| settings.tls);
        assert_eq!(tls("").expect("valid"), Tls::default());
        for (name, mode) in Mode::NAMES {
            let asked = tls(&format!("sslmode={name}&sslrootcert=/c%20a.pem")).expect("valid");
            assert_eq!((asked.mode, asked.root.as_deref()), (Some(mode), Some("/c a.pem")));
        }
        assert_eq!(tls("sslrootcert=system").expect("valid").mode, Some(Mode::VerifyFull));
        assert_eq!(tls("ssl=true").expect("valid").mode, Some(Mode::Require));
        let asked = tls("sslcert=/c&sslkey=/k&sslsni=0&ssl_min_protocol_version=TLSv1.3").expect("valid");
        assert_eq!((asked.certificate, asked.key), (Some("/c".into()), Some("/k".into())));
        assert!(asked.hides_name && asked.from_13 && !asked.to_12);
        for (bad, says) in [
            ("sslmode=verify-ca", "names none to verify them by"),
            ("sslmode=verify-full", "names none to verify them by"),
            ("sslrootcert=system&sslmode=require", "without sslmode=verify-full"),
            ("sslcert=/c", "one of sslcert and sslkey"),
            ("sslkey=/c", "one of sslcert and sslkey"),
            ("ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2", "no version of TLS"),
            ("channel_binding=require&sslmode=disable", "channel_binding=require"),
            ("sslmode=on", "the value of sslmode"),
            ("sslnegotiation=direct", "sslnegotiation"),
            ("gssencmode=require", "gssencmode=require"),
        ] {
            let error = tls(bad).expect_err("refused");
            assert!(error.message.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn every_parameter_of_libpq_is_honoured_or_refused_by_its_name() {
        // of PostgreSQL 18's manual, 32.1.2
        for name in "passfile require_auth channel_binding=disable fallback_application_name replication gssencmode=require
            sslcompression sslkeylogfile sslpassword sslcertmode sslcrl sslcrldir sslnegotiation=direct requirepeer
            ssl_min_protocol_version ssl_max_protocol_version min_protocol_version max_protocol_version krbsrvname gsslib
            gssdelegation scram_client_key scram_server_key service servicefile oauth_issuer oauth_client_id
            load_balance_hosts=random client_encoding target_session_attrs=prefer-standby"
            .split_whitespace()
        {
            let (name, value) = name.split_once('=').unwrap_or((name, "1"));
            for parsed in both(name, value) {
                match parsed {
                    Ok(_) => assert_eq!(name, "channel_binding"),
                    Err(error) => {
                        let named = error.message.contains(name) || name.starts_with("oauth_");
                        assert!(named && error.hint.is_some(), "{name}: {error}");
                    }
                }
            }
        }
        for (name, value) in [
            ("connect_timeout", "3"),
            ("tcp_user_timeout", "3"),
            ("keepalives", "0"),
            ("keepalives_idle", "3"),
            ("keepalives_interval", "3"),
            ("keepalives_count", "3"),
            ("options", "-c%20a=b"),
            ("sslmode", "allow"),
            ("gssencmode", "disable"),
            ("client_encoding", "UTF8"),
            ("load_balance_hosts", "disable"),
        ] {
            for parsed in both(name, value) {
                let config = parsed.unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!((config.get_password(), config.get_application_name()), (Some(&b"s3cret"[..]), Some("x")));
                assert_eq!((config.get_dbname(), config.get_ports()), (Some("d"), &[1][..]));
                assert_eq!(config.get_keepalives_retries(), (name == "keepalives_count").then_some(3));
            }
        }
    }

    #[test]
    fn which_server_is_wanted() {
        for (value, expected) in [
            ("any", TargetSessionAttrs::Any),
            ("read-write", TargetSessionAttrs::ReadWrite),
            ("primary", TargetSessionAttrs::ReadWrite),
            ("read-only", TargetSessionAttrs::ReadOnly),
            ("standby", TargetSessionAttrs::ReadOnly),
        ] {
            for parsed in both("target_session_attrs", value) {
                assert_eq!(parsed.expect("known").get_target_session_attrs(), expected, "{value}");
            }
        }
        let error = parse_url("postgresql://a,b/cc?target_session_attrs=prefer-standby").expect_err("refused");
        assert!(error.hint.unwrap_or_default().contains("Write primary"));
    }

    #[test]
    fn what_is_understood_stays_what_it_is() {
        let config = parse_url("postgres+psycopg2://u%40x:p%3F%26@[::1]:5,h:6/d%20b?host=%2Frun%2Fpg&sslmode=prefer")
            .expect("a URL");
        assert_eq!((config.get_user(), config.get_password()), (Some("u@x"), Some(&b"p?&"[..])));
        assert_eq!((config.get_dbname(), config.get_ssl_mode()), (Some("d b"), SslMode::Prefer));
        assert_eq!(config.get_hosts().last(), Some(&Host::Unix("/run/pg".into())));
        let config = parse_url(r"host=/s user = o password='it''s' dbname=d\ b").err();
        assert!(config.is_some(), "quotes are not doubled in it");
        let config = parse_url(r" host=/s user = o password='it\'s \\ =' dbname=d\ b").expect("pairs");
        assert_eq!((config.get_password(), config.get_dbname()), (Some(&br"it's \ ="[..]), Some("d b")));
    }

    proptest! {
        #[test]
        fn a_password_arrives_as_it_is(password in "\\PC{1,12}") {
            let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
            let config = parse_url(&format!("host=h password='{quoted}' keepalives_count=3")).expect("pairs");
            prop_assert_eq!(config.get_password(), Some(password.as_bytes()));
            let encoded: String = password.bytes().map(|b| format!("%{b:02x}")).collect();
            let config = parse_url(&format!("postgresql://u:{encoded}@h/d?keepalives_count=3")).expect("a URL");
            prop_assert_eq!(config.get_password(), Some(password.as_bytes()));
            let config = parse_url(&format!("postgresql://h/d?keepalives_count=3&password={encoded}")).expect("a URL");
            prop_assert_eq!(config.get_password(), Some(password.as_bytes()));
        }

        #[test]
        fn nothing_makes_it_panic(text in "(postgres://)?[a-z@?=&'\\\\% :,/\\PC]{0,40}") {
            let _ = parse_url(&text);
        }
    }
}
