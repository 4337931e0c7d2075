//! Words that people type for those of the command line: other names of verbs, options of another noun.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Verbs, each with its names in other programs. Help and completion show one word only.
const VERBS: [(&str, &[&str]); 8] = [
    ("add", &["create", "new"]),
    ("disable", &["deactivate"]),
    ("enable", &["activate", "resume", "unpause"]),
    ("list", &["ls"]),
    ("pause", &["suspend"]),
    ("remove", REMOVE),
    ("set", &["edit", "modify", "update"]),
    ("show", &["get", "info"]),
];
const REMOVE: &[&str] = &["delete", "del", "rm"];

/// Options, each with the words that people type for it.
const OPTIONS: [(&str, &[&str]); 3] = [
    ("max-concurrency", &["concurrency", "max-calls", "max-concurrent-calls", "max-live-calls"]),
    ("total-calls-allowed", &["max-total-calls", "total", "total-calls"]),
    ("forwarding-priority", &["priority"]),
];

/// The command line with the other names of its verbs.
pub(crate) fn with_synonyms(command: Command) -> Command {
    command.mut_subcommands(|noun| {
        noun.mut_subcommands(|verb| {
            let synonyms = VERBS.iter().find(|(name, _)| *name == verb.get_name());
            verb.aliases(synonyms.into_iter().flat_map(|(_, synonyms)| *synonyms).copied())
        })
    })
}

/// Puts right what clap suggests for words that it does not know.
pub(crate) fn advise(mut error: Error, command: &Command, args: &[String]) -> Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            never_remove(&mut error);
            noun_first(&mut error, command, args);
        }
        ErrorKind::UnknownArgument => {
            not_a_value(&mut error);
            other_option(&mut error, command, args);
        }
        _ => {}
    }
    error
}

/// Suggests what help shows, and never `remove` for a word like `reset`.
fn never_remove(error: &mut Error) {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return };
    let suggested = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(suggested)) => suggested.clone(),
        Some(ContextValue::String(suggested)) => vec![suggested.clone()],
        _ => return,
    };
    let is_other_name = |word: &str| VERBS.iter().any(|(_, synonyms)| synonyms.contains(&word));
    let is_slip = |word: &str| strsim::damerau_levenshtein(typed, word) < 3 && !word.ends_with(typed.as_str());
    let kept = suggested.into_iter().filter(|word| !is_other_name(word) && (word != "remove" || is_slip(word)));
    match kept.collect::<Vec<_>>() {
        none if none.is_empty() => error.remove(ContextKind::SuggestedSubcommand),
        kept => error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(kept)),
    };
}

/// A verb that stands before its noun, as in English.
fn noun_first(error: &mut Error, command: &Command, args: &[String]) {
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).filter(|arg| !arg.starts_with('-')).collect();
    let [verb, noun, ..] = words.as_slice() else { return };
    let noun = command.find_subcommand(noun).or_else(|| command.find_subcommand(noun.strip_suffix('s')?));
    let Some((noun, verb)) = noun.and_then(|noun| Some((noun.get_name(), noun.find_subcommand(verb)?.get_name())))
    else {
        return;
    };
    let tip = format!("that is capconduit {noun} {verb}");
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

/// A surplus word: one that begins with `--` is no value, since no name does; another may be the rest of a name.
fn not_a_value(error: &mut Error) {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else { return };
    if typed.starts_with("--") {
        error.remove(ContextKind::Suggested);
    } else if !typed.starts_with('-') {
        let tip = "a name with spaces in it is one argument, in quotes: 'Alice Priority'";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
}

/// An option that has another name, or belongs to another noun.
fn other_option(error: &mut Error, command: &Command, args: &[String]) {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else { return };
    let Some(name) = typed.strip_prefix("--").and_then(|name| name.split('=').next()).map(str::to_owned) else {
        return;
    };
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).filter(|arg| !arg.starts_with("--")).collect();
    let [noun, verb, ..] = words.as_slice() else { return };
    let verb_of = |noun: &Command| noun.find_subcommand(verb).cloned();
    let has = |verb: &Command, option: &str| verb.get_arguments().any(|arg| arg.get_long() == Some(option));
    let own = command.find_subcommand(noun).and_then(verb_of);
    let meant = OPTIONS.iter().find(|(_, synonyms)| synonyms.contains(&name.as_str())).map(|(option, _)| *option);
    let tip = match (meant, own) {
        (Some(option), Some(own)) if has(&own, option) => format!("that is --{option} here"),
        _ => {
            let other = |noun: &&Command| verb_of(noun).is_some_and(|verb| has(&verb, &name));
            let Some(other) = command.get_subcommands().find(other) else { return };
            let positional = args.iter().skip_while(|arg| arg != verb).skip(1).take_while(|arg| !arg.starts_with('-'));
            let named: String = match (*noun, other.get_name()) {
                // these two are named alike
                ("client", "pjsip") | ("pjsip", "client") => {
                    positional.map(|word| format!(" {}", crate::words::shell(word))).collect()
                }
                _ => String::new(),
            };
            format!("that is capconduit {} {verb}{named} --{name}", other.get_name())
        }
    };
    error.remove(ContextKind::SuggestedArg);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}
