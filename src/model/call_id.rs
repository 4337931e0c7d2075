//! The ids that calls are kept under: unique ids that fit their column, and stay different when shortened.

use sha2::{Digest, Sha256};

/// What the columns of unique ids hold.
const MAX_ID: usize = 50;
/// How many characters of a shortened id are the unique id's end, in which a server's channels differ.
const TAIL: usize = 33;
/// How many are the hash of the whole, in hexadecimal digits behind a `~`.
const HASH: usize = 16;

/// A unique id, linked id or system name as it is kept: whole, or, where it does not fit, its end and a hash of
/// all of it. Two that differ are never kept as the same.
#[must_use]
pub fn kept_id(id: &str) -> String {
    if id.chars().count() <= MAX_ID {
        return id.to_owned();
    }
    let hash: String = Sha256::digest(id.as_bytes()).iter().take(HASH / 2).map(|b| format!("{b:02x}")).collect();
    format!("{}~{hash}", tail(id))
}

/// The part that a kept id shares with its channel's unique id, to ask whether a call may still be up: channels with
/// the same tail count as one. `cc_call_tail` in SQL.
#[must_use]
pub fn tail(id: &str) -> String {
    let is_hash = |h: &str| h.len() == HASH && h.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let id = id.rsplit_once('~').filter(|(_, hash)| is_hash(hash)).map_or(id, |(id, _)| id);
    let length = id.chars().count();
    id.chars().skip(length.saturating_sub(TAIL)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Ids are kept apart, fit their column, and lead back to their channel.
        #[test]
        fn ids_that_differ_are_kept_apart(a in "\\PC{0,60}", b in "\\PC{0,4}", name in "[a-z~-]{30,80}") {
            let ids = [a.clone(), format!("{name}{a}"), format!("{name}{b}"), format!("{b}{name}"), format!("{name}{a}{b}")];
            for id in &ids {
                let kept = kept_id(id);
                prop_assert!(kept.chars().count() <= MAX_ID);
                prop_assert_eq!(&kept_id(&kept), &kept);
                prop_assert_eq!(tail(&kept), tail(id));
                for other in &ids {
                    prop_assert_eq!(kept == kept_id(other), id == other);
                }
            }
        }
    }
}
