//! Imports point down: no file of src uses a layer above its own, and no two files need each other.
//!
//! The layers are written down once, in src/README.md, where people read them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules of src with what each uses, by their paths: `cli::commands::did` uses `cli::find`.
fn modules() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                sources.insert(name_of(path.strip_prefix(&root).expect("below src").to_owned()), text);
            }
        }
    }
    let known: Vec<String> = sources.keys().cloned().collect();
    let uses = |(name, text): (&String, &String)| {
        assert!(
            !text.split("#[cfg(test)]").next().unwrap_or_default().contains("super::"),
            "{name} has a path with super::: write crate::, which is checked here"
        );
        let used = used(text).into_iter().filter_map(|path| {
            let is_module = |known: &&String| path == **known || path.starts_with(&format!("{known}::"));
            known.iter().filter(is_module).max_by_key(|known| known.len()).cloned()
        });
        (name.clone(), used.filter(|used| used != name).collect())
    };
    sources.iter().map(uses).collect()
}

/// `cli/commands/did/mod.rs` is `cli::commands::did`.
fn name_of(path: PathBuf) -> String {
    let path =
        if path.ends_with("mod.rs") { path.parent().expect("a folder").to_owned() } else { path.with_extension("") };
    path.components().map(|part| part.as_os_str().to_str().expect("UTF-8")).collect::<Vec<_>>().join("::")
}

/// What a source names of this crate, outside its tests: the paths behind `crate::`.
fn used(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut paths = Vec::new();
    for behind in code.split("crate::").skip(1) {
        expand("", behind, &mut paths);
    }
    paths
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`. Returns what is left behind it.
fn expand<'t>(before: &str, text: &'t str, paths: &mut Vec<String>) -> &'t str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(before, rest.trim_start_matches([',', ' ']), paths).trim_start();
            match rest.strip_prefix('}') {
                Some(behind) => return behind,
                None => assert!(rest.starts_with(','), "a list of imports goes on with {rest:.40}"),
            }
        }
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (word, rest) = text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()));
    let path = format!("{before}{word}");
    match rest.strip_prefix("::") {
        Some(behind) => expand(&format!("{path}::"), behind, paths),
        None => {
            paths.push(path);
            // an alias names nothing of ours
            rest.strip_prefix(" as ").map_or(rest, |alias| alias.trim_start_matches(is_word))
        }
    }
}

/// The layers of src/README.md, the lowest first: lines of module names between the fences of ```layers.
fn layers() -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/README.md")).expect("the map");
    let block = readme.split("```layers\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the layers");
    let names = |line: &str| line.split("  ").next().unwrap_or_default().split(' ').map(str::to_owned).collect();
    block.lines().map(names).collect()
}

#[test]
fn no_import_points_up() {
    let layers = layers();
    // the longest name that a module has or is in: cli::commands goes before cli
    let rank = |module: &str| {
        let ranked = layers.iter().enumerate().flat_map(|(rank, names)| names.iter().map(move |name| (rank, name)));
        let is_in = |name: &str| module == name || module.starts_with(&format!("{name}::"));
        ranked.filter(|(_, name)| is_in(name)).max_by_key(|(_, name)| name.len()).map(|(rank, _)| rank)
    };
    let modules = modules();
    for name in layers.iter().flatten() {
        assert!(modules.contains_key(name), "src/README.md has a layer {name}, which is no module");
    }
    let mut wrong = Vec::new();
    for (module, used) in modules.iter().filter(|(module, _)| *module != "lib") {
        let Some(own) = rank(module) else { panic!("{module} is in no layer of src/README.md") };
        let above = used.iter().filter(|used| rank(used).is_some_and(|rank| rank > own));
        wrong.extend(above.map(|used| format!("{module} uses {used}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_files_need_each_other() {
    let mut modules = modules();
    // what uses nothing that is left is in no circle
    while let Some(free) = modules
        .iter()
        .find(|(_, used)| !used.iter().any(|used| modules.contains_key(used)))
        .map(|(module, _)| module.clone())
    {
        modules.remove(&free);
    }
    let left = modules.iter().map(|(module, used)| {
        let circle: Vec<&str> = used.iter().filter(|used| modules.contains_key(*used)).map(String::as_str).collect();
        format!("{module} uses {}", circle.join(", "))
    });
    let left: Vec<String> = left.collect();
    assert!(left.is_empty(), "circles, and what uses them:\n{}", left.join("\n"));
}

#[test]
fn imports_are_read_whole() {
    let text = "use crate::a::{self, b::{C, d}, e as f};\n// crate::no\nlet x = crate::g::h(crate::i::J);";
    assert_eq!(used(text), ["a::self", "a::b::C", "a::b::d", "a::e", "g::h", "i::J"]);
}
