//! Active DIDs that are not sold. If somebody has switched them off, or not finished them, that is worth a notice; an
//! active campaign without a client to call needs attention.

use crate::cli::commands::status::Finding;
use crate::store::status::Unsold;
use crate::words::shell;

/// Whether nobody intended it.
pub(crate) fn is_by_accident(unsold: &Unsold) -> bool {
    unsold.reason == "no_clients"
}

/// The DIDs that are unsold on purpose or not finished.
pub(crate) fn notices(unsold: &[Unsold]) -> Vec<Finding> {
    let rest = unsold.iter().filter(|unsold| !is_by_accident(unsold));
    rest.map(|unsold| Finding { check: "did", message: message(unsold) }).collect()
}

/// The state of the DIDs, and its remedy.
pub(crate) fn message(unsold: &Unsold) -> String {
    let Unsold { username, number, .. } = unsold;
    let name = unsold.campaign_name.as_deref().unwrap_or_default();
    let id = unsold.campaign_id.unwrap_or_default();
    let (dids, are, feed) = match unsold.dids {
        1 => (format!("active DID {number}"), "is", "feeds"),
        n => (format!("{n} active DIDs"), "are", "feed"),
    };
    match unsold.reason.as_str() {
        "owner_inactive" => format!(
            "{dids} of {username}, who is {}, {are} not sold: capconduit user enable {}",
            unsold.user_status,
            shell(username)
        ),
        "no_campaign" => format!(
            "{dids} of {username} {feed} no campaign: capconduit campaign set CAMPAIGN --add-did {}",
            if unsold.dids == 1 { number } else { "NUMBER" }
        ),
        "campaign_inactive" => format!(
            "{dids} of \"{name}\", which is {}, {are} not sold: capconduit campaign enable {id}",
            unsold.campaign_status.as_deref().unwrap_or_default()
        ),
        _ => format!(
            "{dids} of \"{name}\" {are} not sold, no client of it can get a call: capconduit route explain {number}"
        ),
    }
}
