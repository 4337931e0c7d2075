//! The maps (README.md of src, sql and tests) name files and functions that are there.

use std::path::Path;

use regex::Regex;

/// Where the names of a map may be found, from the top of the project.
const MAPS: [(&str, &[&str]); 3] = [
    ("src/README.md", &["src", ""]),
    ("sql/README.md", &["sql", "sql/routines", ""]),
    ("tests/README.md", &["tests", "tests/it", ""]),
];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_path_of_a_map_is_there() {
    let path = Regex::new(r"`([a-z_./]*/[a-z_./]*|[a-z_]+\.(?:rs|sql))`").expect("a pattern");
    let indented = Regex::new(r"(?m)^    (  )?([a-z_]+/|[a-z_]+\.(?:rs|sql)) ").expect("a pattern");
    let mut missing = Vec::new();
    for (map, places) in MAPS {
        let text = std::fs::read_to_string(top().join(map)).expect("a map");
        let mut names: Vec<String> = path.captures_iter(&text).map(|found| found[1].to_owned()).collect();
        let mut folder = String::new();
        for found in indented.captures_iter(&text) {
            let name = found[2].to_owned();
            if found.get(1).is_some() {
                names.push(format!("{folder}{name}"));
            } else {
                folder = if name.ends_with('/') { name.clone() } else { String::new() };
                names.push(name);
            }
        }
        assert!(names.len() > 5, "{map}: {names:?}");
        missing.extend(names.iter().filter_map(|name| {
            let is_there = places.iter().any(|place| top().join(place).join(name).exists());
            (!is_there).then(|| format!("{map}: {name}"))
        }));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// All code below these folders.
fn code(folders: &[&str]) -> String {
    let mut text = String::new();
    let mut folders: Vec<_> = folders.iter().map(|folder| top().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs" || extension == "sql") {
                text.push_str(&std::fs::read_to_string(entry).expect("code"));
            }
        }
    }
    text
}

#[test]
fn every_name_of_a_map_is_there() {
    let code = code(&["src", "sql/routines", "sql/migrations", "tests/it", "tests/harness"]);
    let name = Regex::new(r"`(?:[A-Za-z]+::)?([A-Za-z_]{3,})!?`").expect("a pattern");
    let mut missing = Vec::new();
    for (map, _) in MAPS {
        let text = std::fs::read_to_string(top().join(map)).expect("a map");
        for found in name.captures_iter(&text) {
            let (whole, name) = (&found[0], &found[1]);
            // a function is made; of a type, a macro, a column or a step it is enough that it is there
            let is_function = whole.contains("::") || name.starts_with("cc_");
            let made = format!(r"(?:fn|FUNCTION) {name}\b|TYPE {name} |\b{name}!");
            let pattern = if is_function { made } else { format!(r"\b{name}\b") };
            if !Regex::new(&pattern).expect("a pattern").is_match(&code) {
                missing.push(format!("{map}: {whole}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
