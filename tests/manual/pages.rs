//! The pages of `capconduit` and its nouns, from the command line itself (clap) and from what it
//! prints (`capconduit schema`). A new noun, verb or option needs no change here.

use capconduit::Kind;
use capconduit::cli::commands::schema::{self, Documented};
use clap::{Arg, Command};

use super::roff::{Page, bold, escape, italic};

/// What the command line does not know of itself.
const OVERVIEW: &str = include_str!("overview.roff");

/// File name and content of each generated page.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut program = capconduit::cli::command();
    program.build();
    let fields = schema::documented();
    let mut pages = vec![("capconduit.1".to_owned(), overview(&program))];
    for noun in nouns(&program) {
        pages.push((format!("capconduit-{}.1", noun.get_name()), page(noun, &fields)));
    }
    pages
}

/// What the exit codes mean.
fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "It failed, or a check found something.",
        Kind::Usage => "The command line is wrong.",
        Kind::NotFound => "What was named does not exist.",
        Kind::Conflict => "It exists already, or is still in use.",
        Kind::Invalid => "A value breaks a rule.",
        Kind::Permission => "The database or the file system refuses.",
        Kind::Unreachable => "The database cannot be reached: try again.",
    }
}

fn nouns(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| c.get_name() != "help")
}

/// The commands without subcommands of their own, each with its whole name.
fn leaves<'a>(command: &'a Command, name: &str, all: &mut Vec<(String, &'a Command)>) {
    if !command.has_subcommands() {
        all.push((name.to_owned(), command));
    }
    for inner in nouns(command) {
        leaves(inner, &format!("{name} {}", inner.get_name()), all);
    }
}

fn overview(program: &Command) -> String {
    let about = program.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new("capconduit", 1, &lower(&about));
    page.section("SYNOPSIS");
    page.line(&format!("{} {} {} [{}]", bold("capconduit"), italic("noun"), italic("verb"), italic("options")));
    page.section("NOUNS");
    for noun in nouns(program) {
        let about = noun.get_about().map(ToString::to_string).unwrap_or_default();
        page.entry(&format!("\\fBcapconduit\\-{}\\fR(1)", escape(noun.get_name())), &sentence(&about));
    }
    page.section("OPTIONS");
    page.text("Every command takes these, and --help.");
    for arg in program.get_arguments().filter(|arg| !arg.is_hide_set()) {
        option(&mut page, arg);
    }
    page.section("EXIT STATUS");
    page.entry(&bold("0"), "Done.");
    for kind in Kind::ALL {
        page.entry(&bold(&kind.exit_code().to_string()), &format!("{} Kind: {}.", meaning(kind), kind.name()));
    }
    page.raw(OVERVIEW);
    page.finish()
}

fn page(noun: &Command, fields: &[Documented]) -> String {
    let name = noun.get_name();
    let about = noun.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new(&format!("capconduit-{name}"), 1, &lower(&about));
    let mut commands = Vec::new();
    leaves(noun, name, &mut commands);

    page.section("SYNOPSIS");
    for (index, (name, command)) in commands.iter().enumerate() {
        page.raw(if index == 0 { "" } else { ".br\n" });
        page.line(&synopsis(name, command));
    }
    page.section("DESCRIPTION");
    page.text(&sentence(&about));
    for paragraph in paragraphs(noun).iter().filter(|p| !is_example(p)) {
        passage(&mut page, paragraph);
    }

    if noun.has_subcommands() {
        page.section("COMMANDS");
    }
    for (name, command) in &commands {
        if noun.has_subcommands() {
            page.subsection(&format!("capconduit {name}"));
            page.text(&sentence(&command.get_about().map(ToString::to_string).unwrap_or_default()));
        } else {
            page.section("OPTIONS");
        }
        for arg in own_arguments(command).filter(|arg| !is_of_lists(arg)) {
            option(&mut page, arg);
        }
        if noun.has_subcommands() {
            // as it is written: a paragraph may lead up to its example
            for paragraph in paragraphs(command) {
                passage(&mut page, &paragraph);
            }
        }
    }

    let is_list = |command: &Command| command.get_arguments().any(is_of_lists);
    let lists: Vec<&(String, &Command)> = commands.iter().filter(|(_, command)| is_list(command)).collect();
    if let Some((_, list)) = lists.first() {
        page.section("LIST OPTIONS");
        let names: Vec<&str> = lists.iter().map(|(name, _)| name.as_str()).collect();
        page.text(&format!("Understood by {}.", and(&names)));
        for arg in list.get_arguments().filter(|arg| is_of_lists(arg)) {
            option(&mut page, arg);
        }
    }
    let examples: Vec<String> = paragraphs(noun).into_iter().filter(|p| is_example(p)).collect();
    if !examples.is_empty() {
        page.section("EXAMPLES");
    }
    for example in &examples {
        passage(&mut page, example);
    }
    json(&mut page, &commands, fields);
    page.section("EXIT STATUS");
    let codes = Kind::ALL.map(|kind| format!("{} {}", kind.exit_code(), kind.name().replace('_', " ")));
    page.text(&format!("0 done; {}. See capconduit(1).", codes.join("; ")));
    page.section("SEE ALSO");
    page.line("\\fBcapconduit\\fR(1), \\fBcapconduit.env\\fR(5), \\fBcapconduit\\fR(7)");
    page.finish()
}

/// `capconduit client add CLIENT_IDENTIFIER --name TEXT [options]`
fn synopsis(name: &str, command: &Command) -> String {
    let mut line = bold(&format!("capconduit {name}"));
    for arg in command.get_positionals() {
        let value = italic(&values(arg));
        line += &if arg.is_required_set() { format!(" {value}") } else { format!(" [{value}]") };
    }
    for arg in command.get_opts().filter(|arg| arg.is_required_set()) {
        line += &format!(" {} {}", bold(&format!("--{}", arg.get_long().unwrap_or_default())), italic(&values(arg)));
    }
    if own_arguments(command).any(|arg| !arg.is_positional() && !arg.is_required_set()) {
        line += &format!(" [{}]", italic("options"));
    }
    line
}

/// All but those of every command.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
}

fn is_of_lists(arg: &Arg) -> bool {
    arg.get_help_heading() == Some("List options")
}

fn values(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let text = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let many = arg.is_positional() && arg.get_num_args().is_some_and(|n| n.max_values() > 1);
    if many { format!("{text}...") } else { text }
}

fn option(page: &mut Page, arg: &Arg) {
    let mut tag = Vec::new();
    if let Some(short) = arg.get_short() {
        tag.push(bold(&format!("-{short}")));
    }
    if let Some(long) = arg.get_long() {
        tag.push(bold(&format!("--{long}")));
    }
    for alias in arg.get_visible_aliases().unwrap_or_default() {
        tag.push(bold(&format!("--{alias}")));
    }
    let mut tag = tag.join(", ");
    if arg.is_positional() {
        tag = italic(&values(arg));
    } else if arg.get_action().takes_values() {
        let equals = if arg.is_require_equals_set() { "=" } else { " " };
        let value = italic(&values(arg));
        let may_lack = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
        tag += &match (may_lack, equals) {
            (true, "=") => format!("[={value}]"),
            (true, _) => format!(" [{value}]"),
            (false, equals) => format!("{equals}{value}"),
        };
    }
    let mut text = sentence(&arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default());
    let possible = arg.get_possible_values();
    let possible: Vec<&str> = possible.iter().filter(|v| !v.is_hide_set()).map(|v| v.get_name()).collect();
    if arg.get_action().takes_values() && !possible.is_empty() {
        text += &format!(" One of: {}.", possible.join(", "));
    }
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !default.is_empty() {
        text += &format!(" Default: {}.", default.join(", "));
    }
    page.entry(&tag, &text);
}

/// The paragraphs of the help text's end. Examples are indented; their heading is not repeated.
fn paragraphs(command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    text.split("\n\n").map(|p| p.trim_start_matches("Examples:\n").to_owned()).filter(|p| !p.is_empty()).collect()
}

fn is_example(paragraph: &str) -> bool {
    paragraph.starts_with("  ")
}

/// A paragraph of the help text's end: an example as it stands, anything else as text.
fn passage(page: &mut Page, paragraph: &str) {
    if is_example(paragraph) {
        page.verbatim(
            &paragraph.lines().map(|l| format!("{}\n", l.strip_prefix("  ").unwrap_or(l))).collect::<String>(),
        );
    } else {
        page.paragraph(paragraph);
    }
}

/// What the commands print with `--json`; those that print the same stand together.
fn json(page: &mut Page, commands: &[(String, &Command)], fields: &[Documented]) {
    let mut shapes: Vec<(Vec<&str>, Vec<&Documented>)> = Vec::new();
    for (name, _) in commands {
        let of_command: Vec<&Documented> = fields.iter().filter(|field| field.command == *name).collect();
        for shape in of_command.chunk_by(|a, b| a.when == b.when) {
            let same = |there: &Vec<&Documented>| {
                let what =
                    |d: &Documented| (d.prints, d.when, d.field.clone(), d.kind.clone(), d.nullable, d.about.clone());
                there.iter().map(|d| what(d)).eq(shape.iter().map(|d| what(d)))
            };
            match shapes.iter_mut().find(|(_, there)| same(there)) {
                Some((names, _)) => names.push(name),
                None => shapes.push((vec![name], shape.to_vec())),
            }
        }
    }
    if shapes.is_empty() {
        return;
    }
    page.section("JSON");
    page.text("Fields stand in this order; later releases may add some. Timestamps are RFC 3339 in UTC.");
    for (names, shape) in shapes {
        let print = if names.len() == 1 { "prints" } else { "print" };
        let first = shape[0];
        let what = match first.prints {
            "array" => "an array of objects".to_owned(),
            "object" => "an object".to_owned(),
            _ => first.about.clone(),
        };
        let when = first.when.map(|when| format!(", when {when}")).unwrap_or_default();
        let end = if first.field.is_some() { ":" } else { "." };
        page.paragraph(&format!("{} {print} {what}{when}{end}", and(&names)));
        for field in shape {
            let (Some(name), Some(kind)) = (&field.field, &field.kind) else { continue };
            let null = if field.nullable { " or null" } else { "" };
            page.entry(&format!("{} ({kind}{null})", bold(name)), &field.about);
        }
    }
}

/// `a, b and c`
fn and(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.join(""),
    }
}

/// With a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', ':', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// As a NAME section begins: small, but for an abbreviation.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), text.chars().nth(1)) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}
