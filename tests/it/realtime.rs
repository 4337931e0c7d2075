//! Asterisk reads the clients from the database as they are now.

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
    let log = stage.ringing.log();
    let started = log.split("Asterisk Ready").next().expect("a beginning");
    let errors: Vec<&str> = started
        .lines()
        .filter(|l| l.contains("] ERROR[") || l.contains("] WARNING["))
        .filter(|l| !harmless.iter().any(|h| l.contains(h)))
        .collect();
    assert_eq!(errors, [""; 0], "{log}");
}
