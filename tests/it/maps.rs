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

#[test]
fn every_function_of_a_map_is_there() {
    let name = Regex::new(r"`(cc_[a-z_]+)`").expect("a pattern");
    let mut sql = String::new();
    let mut folders = vec![top().join("sql/routines")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => sql.push_str(&std::fs::read_to_string(entry).expect("a routine")),
            }
        }
    }
    let is_made = |name: &str| {
        [format!("FUNCTION {name}("), format!("CREATE TYPE {name} ")].iter().any(|made| sql.contains(made))
    };
    for (map, _) in MAPS {
        let text = std::fs::read_to_string(top().join(map)).expect("a map");
        let missing: Vec<&str> =
            name.captures_iter(&text).map(|found| found.extract::<1>().1[0]).filter(|name| !is_made(name)).collect();
        assert!(missing.is_empty(), "{map} names {missing:?}");
    }
}
