//! Asterisk reads the clients from the database as they are now.

use capconduit::model::pjsip_options::{OPTIONS, Object, Rule, SipOption};

use crate::harness::sip::{Behaviour, Calls, Centre};
use crate::stage::stage;

#[test]
fn clients_are_endpoints_until_they_are_inactive() {
    let (stage, _turn) = stage();
    let endpoint = |name: &str| stage.ringing.cli(&format!("pjsip show endpoint {name}"));
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[centre.contact()]);
    let name = &site.clients[0];
    let listed = || stage.ringing.cli("pjsip show endpoints").contains(&format!("Endpoint:  {name} "));
    assert!(listed());
    assert!(endpoint(name).contains(&centre.contact()));

    site.database.capconduit(&["client", "set", name, "--status", "inactive"]);
    assert!(!listed(), "gone without a reload");
    assert!(endpoint(name).contains("Unable to find object"));
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&stage.ringing), [480]);

    site.database.capconduit(&["client", "set", name, "--status", "active"]);
    assert!(listed());
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&stage.ringing), [200]);
    assert_eq!(site.wait_for_records(2, "call_status"), ["REJECTED_NO_CLIENTS", "ANSWERED"]);
}

#[test]
fn asterisk_starts_without_an_error_of_ours() {
    let (stage, _turn) = stage();
    let harmless = [
        // files that this private server does without; a packaged one has them
        "cel.conf",
        "features.conf",
        "acl.conf",
        "udptl.conf",
        "ccss.conf",
        "pjproject.conf",
        "manager.conf",
        "websocket_client.conf",
        "No database password found",
    ];
    let started = stage.ringing.log_of_start();
    let errors: Vec<&str> = started
        .lines()
        .filter(|l| l.contains("] ERROR[") || l.contains("] WARNING["))
        .filter(|l| !harmless.iter().any(|h| l.contains(h)))
        .collect();
    assert_eq!(errors, [""; 0], "{started}");
}

/// Values that an option takes: each word of its rule.
fn values(option: &SipOption) -> Vec<String> {
    let words: &[&str] = match option.rule {
        Rule::YesNo => &["yes", "no"],
        Rule::Only(value, _) => return vec![value.to_owned()],
        Rule::OneOf(words) => words,
        Rule::Integer(least, _) => return vec![(least + 30).to_string(), least.to_string()],
        Rule::Seconds(_) => &["0.5", "12"],
        Rule::Address => &["127.0.0.1", "::1"],
        Rule::User => &["us+1"],
        Rule::Proxy => &["sip:127.0.0.9:5099;transport=udp;lr"],
    };
    words.iter().map(|&word| word.to_owned()).collect()
}

/// As `pjsip show` prints it.
fn shown(option: &SipOption, value: &str) -> String {
    match (option.rule, value) {
        (Rule::YesNo, "yes") => "true".to_owned(),
        (Rule::YesNo | Rule::Only(..), _) => "false".to_owned(),
        (Rule::Seconds(_), _) => format!("{:.6}", value.parse::<f64>().expect("a number")),
        _ => value.to_owned(),
    }
}

#[test]
fn every_value_of_every_sip_option_reaches_asterisk() {
    let (stage, _turn) = stage();
    let client = "sip-options";
    stage.database.capconduit(&[
        "client",
        "add",
        client,
        "--name",
        "X",
        "--contact",
        "sip:127.0.0.1:9",
        "--qualify-frequency",
        "0",
    ]);
    let rounds = OPTIONS.iter().map(|option| values(option).len()).max().expect("options");
    for round in 0..rounds {
        let chosen: Vec<(&SipOption, String)> = OPTIONS
            .iter()
            .map(|option| {
                let values = values(option);
                (option, values[round % values.len()].clone())
            })
            .collect();
        let flags: Vec<String> =
            chosen.iter().flat_map(|(option, value)| [format!("--{}", option.flag()), value.clone()]).collect();
        let mut set = vec!["pjsip", "set", client];
        set.extend(flags.iter().map(String::as_str));
        stage.database.capconduit(&set);
        let endpoint = stage.ringing.cli(&format!("pjsip show endpoint {client}"));
        let aor = stage.ringing.cli(&format!("pjsip show aor {client}"));
        for (option, value) in &chosen {
            let text = if option.object == Object::Endpoint { &endpoint } else { &aor };
            let has = |text: &str, expected: &str| {
                text.lines().any(|line| {
                    line.split_once(':').is_some_and(|(n, v)| n.trim() == option.name && v.trim() == expected)
                })
            };
            assert!(has(text, &shown(option, value)), "{} = {value}: {text}", option.name);
            assert!(option.name != "outbound_proxy" || has(&aor, value), "{aor}");
        }
    }

    // empty leaves Asterisk its default
    let flags: Vec<String> = OPTIONS.iter().map(|option| format!("--{}=", option.flag())).collect();
    let mut clear = vec!["pjsip", "set", client];
    clear.extend(flags.iter().map(String::as_str));
    stage.database.capconduit(&clear);
    let none = "num_nonnulls(timers, dtmf_mode, outbound_proxy, rtp_timeout, contact_user)";
    assert_eq!(stage.database.value(&format!("SELECT {none} FROM pjsip_endpoints WHERE id = '{client}'")), "0");
    assert!(
        stage
            .ringing
            .cli(&format!("pjsip show endpoint {client}"))
            .contains("dtmf_mode                          : rfc4733")
    );
}
