//! The declarations of `src/model/columns.rs` against the tables, the help and the configuration document.

use std::collections::BTreeSet;

use capconduit::model::columns::{self, Column, NAME, NOUNS, Rule, USERNAME};
use capconduit::store::document;
use capconduit::store::noun::Noun;

use crate::harness::postgres::{Database, Postgres};

fn table(noun: &str) -> &'static str {
    Noun::ALL.into_iter().find(|known| known.name() == noun).expect("a noun").table()
}

fn declared() -> impl Iterator<Item = (&'static str, &'static Column)> {
    NOUNS.iter().flat_map(|(noun, groups)| groups.iter().flat_map(move |group| group.iter().map(move |c| (*noun, c))))
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

/// What a column of a table is: its type, its length, whether it may be null.
fn shape(database: &Database, table: &str, column: &str) -> String {
    database.value(&format!(
        "SELECT concat_ws(' ', data_type, character_maximum_length, is_nullable) FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = '{table}' AND column_name = '{column}'"
    ))
}

#[test]
fn the_tables_take_what_the_declarations_let_through() {
    let database = Postgres::shared().database();
    for (noun, column) in declared() {
        let (table, name) = (table(noun), column.name);
        let shape = shape(&database, table, name);
        let condition = condition(&database, table, name);
        match &column.rule {
            Rule::OneOf(values) => {
                // Asterisk's own tables have no conditions: only our program has these rules
                let Some(condition) = condition else {
                    assert!(table.starts_with("pjsip_"), "{table}.{name} has no condition");
                    continue;
                };
                // ((status)::text = ANY ((ARRAY['active'::character varying, ...
                let taken: BTreeSet<&str> = condition.split('\'').skip(1).step_by(2).collect();
                assert_eq!(taken, values.iter().copied().collect(), "{condition}");
            }
            Rule::Within(range) | Rule::Unlimited(range) => {
                assert!(shape.starts_with("integer"), "{table}.{name}: {shape}");
                let may_be_null = shape.ends_with("YES") && !table.starts_with("pjsip_");
                assert_eq!(may_be_null, matches!(column.rule, Rule::Unlimited(_)), "{table}.{name}");
                let Some(condition) = condition else {
                    assert!(table.starts_with("pjsip_") || *range == (i32::MIN..=i32::MAX), "{table}.{name}");
                    continue;
                };
                let takes = |value: i64| {
                    database.value(&format!("SELECT {condition} FROM (VALUES ({value}::bigint)) v ({name})")) == "t"
                };
                let (least, most) = (i64::from(*range.start()), i64::from(*range.end()));
                assert_eq!([least - 1, least, most].map(takes), [false, true, true], "{name}: {condition}");
                // the column's type ends there, or the program alone is stricter
                let ends_here = most == i64::from(i32::MAX) || name == "dial_timeout_seconds";
                assert!(ends_here || !takes(most + 1), "{name}: {condition}");
            }
            Rule::Free => assert_eq!(shape, "text YES", "{table}.{name}"),
            Rule::Line(max)
            | Rule::Email(max)
            | Rule::Stored(max)
            | Rule::Word(max)
            | Rule::Host(max)
            | Rule::Codecs(max)
            | Rule::Contact(max) => {
                let null = if column.nullable { "YES" } else { "NO" };
                assert_eq!(shape, format!("character varying {max} {null}"), "{table}.{name}");
                assert_eq!(condition, None, "{table}.{name}");
            }
        }
    }
    for (table, name, max) in [("users", "username", USERNAME), ("campaigns", "name", NAME)] {
        assert_eq!(shape(&database, table, name), format!("character varying {max} NO"));
    }
}

#[test]
fn no_table_has_a_condition_that_no_declaration_knows() {
    let database = Postgres::shared().database();
    for noun in Noun::ALL {
        let sql = format!(
            "SELECT a.attname FROM pg_constraint k
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
             WHERE k.contype = 'c' AND k.conrelid = '{}'::regclass",
            noun.table()
        );
        for column in database.query(&sql) {
            assert!(columns::of(noun.name(), &column).is_some(), "{} {column}", noun.name());
        }
    }
}

#[test]
fn help_says_the_bounds() {
    for (noun, column) in declared() {
        if let Rule::Within(range) | Rule::Unlimited(range) = &column.rule {
            let bounds = [range.start(), range.end()].into_iter().filter(|n| ![i32::MIN, i32::MAX].contains(n));
            let missing: Vec<_> = bounds.filter(|n| !column.help.contains(&n.to_string())).collect();
            assert!(missing.is_empty(), "{noun} {} does not say {missing:?}", column.name);
        }
    }
}

/// The counter of answered calls is no configuration.
#[test]
fn documents_hold_what_is_declared() {
    let database = Postgres::shared().database();
    let schema = document::schema(&mut database.connect()).expect("a schema");
    for (noun, column) in declared().filter(|(_, column)| column.name != "current_total_calls") {
        let in_document = schema.iter().find(|(known, _)| known.name() == noun).expect("a noun").1;
        assert!(in_document.iter().any(|known| known.name == column.name), "{noun} {}", column.name);
    }
}
