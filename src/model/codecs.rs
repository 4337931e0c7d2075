//! Codecs by Asterisk's names: Asterisk drops a whole endpoint for one codec that it does not know.

use crate::{Error, Result};

/// The codecs of Asterisk 20 to 22 (main/codec_builtin.c): `core show codecs`.
pub const CODECS: &[&str] = &[
    "adpcm", "alaw", "codec2", "g719", "g722", "g723", "g726", "g726aal2", "g729", "gsm", "h261", "h263", "h263p",
    "h264", "h265", "ilbc", "jpeg", "lpc10", "mpeg4", "opus", "png", "red", "silk12", "silk16", "silk24", "silk8",
    "siren14", "siren7", "slin", "slin12", "slin16", "slin192", "slin24", "slin32", "slin44", "slin48", "slin96",
    "speex", "speex16", "speex32", "t140", "t38", "ulaw", "vp8", "vp9",
];

/// What others call them.
const ALIASES: &[(&str, &str)] = &[
    ("pcmu", "ulaw"),
    ("g711u", "ulaw"),
    ("g711", "ulaw"),
    ("mulaw", "ulaw"),
    ("pcma", "alaw"),
    ("g711a", "alaw"),
    ("g729a", "g729"),
    ("g729b", "g729"),
    ("g729ab", "g729"),
    ("g7231", "g723"),
    ("g726-32", "g726"),
    ("gsmfr", "gsm"),
    ("slin8", "slin"),
    ("l16", "slin"),
    ("speex8", "speex"),
    ("avc", "h264"),
    ("hevc", "h265"),
];

/// Codecs that the modules.conf here translates into each other, and so into whatever a carrier sends.
const TRANSLATED: &[&str] = &[
    "alaw", "g722", "gsm", "slin", "slin12", "slin16", "slin192", "slin24", "slin32", "slin44", "slin48", "slin96",
    "ulaw",
];

/// The names in a list, without `!` or packet time: of `!g729` and `ulaw:20`, `g729` and `ulaw`.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|codec| {
        let codec = codec.strip_prefix('!').unwrap_or(codec);
        codec.split_once(':').map_or(codec, |(name, _)| name)
    })
}

/// Checks a list of codecs: `ulaw,alaw`, `!all,opus`, `ulaw:20`.
///
/// # Errors
/// [`crate::Kind::Invalid`], naming the codec, and what Asterisk calls it.
pub fn check(column: &str, list: &str) -> Result<()> {
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if !list.is_empty() && !names(list).all(plain) {
        return Err(Error::invalid(format!("{column} \"{}\" is not a list of codecs", list.escape_debug()))
            .hint("Write their names with commas between them: ulaw,alaw,gsm"));
    }
    let is_known = |name: &&str| name.is_empty() || *name == "all" || CODECS.contains(name);
    let Some(unknown) = names(list).find(|name| !is_known(name)) else { return Ok(()) };
    let lower = unknown.to_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, name)| *name);
    let name = alias.or_else(|| CODECS.iter().copied().find(|name| *name == lower));
    let name = name.map_or_else(String::new, |name| format!(", and calls it {name}"));
    Err(Error::invalid(format!("{column} \"{unknown}\": Asterisk knows no codec of that name{name}"))
        .hint("Nothing was changed. It would drop the whole endpoint; asterisk -rx 'core show codecs' lists them."))
}

/// Whether a list allows codecs, but none that Asterisk translates.
#[must_use]
pub fn translates_nothing(list: &str) -> bool {
    let allowed = || list.split(',').map(str::trim).filter(|codec| !codec.is_empty() && !codec.starts_with('!'));
    let usable = |codec: &str| codec == "all" || names(codec).any(|name| TRANSLATED.contains(&name));
    allowed().next().is_some() && !allowed().any(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for good in ["ulaw", "ulaw,alaw,g729", "!all,slin16", "ulaw:20,alaw:40", "all", ""] {
            assert!(check("allow", good).is_ok(), "{good}");
        }
        for bad in ["ulaw;alaw", "ulaw alaw", "ulaw,,alaw", ",", "ulaw\n", "nonsense", "!nonsense", "ulaw,x:20"] {
            assert!(check("allow", bad).is_err(), "{bad}");
        }
        for (other, name) in [("pcmu", "ulaw"), ("PCMA", "alaw"), ("g729a", "g729"), ("ULAW", "ulaw")] {
            let error = check("allow", other).expect_err("no such codec");
            assert!(error.message.ends_with(&format!("calls it {name}")), "{error}");
        }
    }

    #[test]
    fn what_nothing_translates() {
        for list in ["g729", "opus,g729", "!ulaw,opus", "speex:20"] {
            assert!(translates_nothing(list), "{list}");
        }
        for list in ["", "ulaw", "g729,alaw", "all", "g722:20", "!all,gsm"] {
            assert!(!translates_nothing(list), "{list}");
        }
    }

    #[test]
    fn every_alias_is_of_a_codec_and_is_none() {
        for (alias, name) in ALIASES {
            assert!(CODECS.contains(name) && !CODECS.contains(alias), "{alias}");
        }
        assert!(TRANSLATED.iter().all(|name| CODECS.contains(name)));
    }
}
