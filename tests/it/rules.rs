//! The rules of `src/model/rules.rs` against the tables' own, and against what the command line offers.

use std::collections::BTreeSet;

use capconduit::model::rules::{self, RULES, Rule};
use capconduit::store::document::Noun;

use crate::harness::postgres::{Database, Postgres};

fn table(noun: &str) -> &'static str {
    Noun::ALL.into_iter().find(|known| known.name() == noun).expect("a noun").table()
}

/// The condition that a table has on this column alone.
fn condition(database: &Database, table: &str, column: &str) -> Option<String> {
    let sql = format!(
        "SELECT pg_get_expr(k.conbin, k.conrelid) FROM pg_constraint k
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
         WHERE k.contype = 'c' AND k.conrelid = '{table}'::regclass AND a.attname = '{column}'"
    );
    database.query(&sql).pop()
}

#[test]
fn the_tables_take_what_the_rules_let_through() {
    let database = Postgres::shared().database();
    for (noun, column, rule) in RULES {
        let table = table(noun);
        // Asterisk's own tables have no conditions: only our program has these rules
        let Some(condition) = condition(&database, table, column) else {
            let length = format!(
                "SELECT character_maximum_length FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name = '{table}' AND column_name = '{column}'"
            );
            match rule {
                Rule::UpTo(most) => assert_eq!(database.value(&length), most.to_string(), "{noun} {column}"),
                Rule::Within(range) if *range == (i32::MIN..=i32::MAX) => {}
                _ => assert!(table.starts_with("pjsip_"), "{table}.{column} has no condition"),
            }
            continue;
        };
        let takes = |value: i64| {
            database.value(&format!("SELECT {condition} FROM (VALUES ({value}::bigint)) v ({column})")) == "t"
        };
        match rule {
            Rule::OneOf(values) => {
                // ((status)::text = ANY ((ARRAY['active'::character varying, ...
                let taken: BTreeSet<&str> = condition.split('\'').skip(1).step_by(2).collect();
                assert_eq!(taken, values.iter().copied().collect(), "{condition}");
            }
            Rule::Within(range) => {
                let (least, most) = (i64::from(*range.start()), i64::from(*range.end()));
                assert_eq!([least - 1, least, most].map(takes), [false, true, true], "{column}: {condition}");
                // the column's type ends there, or the program alone is stricter
                let ends_here = most == i64::from(i32::MAX) || *column == "dial_timeout_seconds";
                assert!(ends_here || !takes(most + 1), "{column}: {condition}");
            }
            Rule::UpTo(_) => panic!("{table}.{column} has a condition: {condition}"),
        }
    }
}

#[test]
fn no_table_has_a_condition_that_no_rule_knows() {
    let database = Postgres::shared().database();
    for noun in Noun::ALL {
        let sql = format!(
            "SELECT a.attname FROM pg_constraint k
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
             WHERE k.contype = 'c' AND k.conrelid = '{}'::regclass",
            noun.table()
        );
        for column in database.query(&sql) {
            assert!(rules::of(noun.name(), &column).is_some(), "{} {column}", noun.name());
        }
    }
}

/// Flags offer the same values, and their help says the same bounds.
#[test]
fn the_command_line_says_the_rules() {
    let program = capconduit::cli::command();
    let mut seen = BTreeSet::new();
    for noun in program.get_subcommands() {
        for flag in noun
            .get_subcommands()
            .filter(|verb| ["add", "set"].contains(&verb.get_name()))
            .flat_map(|v| v.get_arguments())
        {
            let column = flag.get_long().unwrap_or_default().replace('-', "_");
            let Some(rule) = rules::of(noun.get_name(), &column) else { continue };
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            match rule {
                Rule::OneOf(values) => {
                    let offered = flag.get_possible_values();
                    assert_eq!(offered.iter().map(|value| value.get_name()).collect::<Vec<_>>(), *values, "{column}");
                }
                Rule::Within(range) => {
                    let bounds = [range.start(), range.end()].into_iter().filter(|n| ![i32::MIN, i32::MAX].contains(n));
                    let missing: Vec<_> = bounds.filter(|n| !help.contains(&n.to_string())).collect();
                    assert!(missing.is_empty(), "{column} does not say {missing:?}: {help}");
                }
                Rule::UpTo(_) => {}
            }
            seen.insert((noun.get_name().to_owned(), column));
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}
