//! Phone numbers: from what a carrier sends to E.164 (ITU-T E.164: `+`, then 2 to 15 digits, the
//! first not 0).

use std::fmt;

use crate::{Error, Result};

/// A number in E.164 form with its `+`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct E164(String);

impl E164 {
    /// Takes a number that is in E.164 form already.
    ///
    /// # Errors
    /// Names the number and the rule it breaks.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = text.strip_prefix('+').unwrap_or_default().as_bytes();
        let valid = (2..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0';
        if valid {
            return Ok(E164(text.to_owned()));
        }
        Err(Error::invalid(format!("\"{}\" is not an E.164 number", text.escape_default()))
            .hint("Write + and country code, then the number: +18005550101 (2 to 15 digits, no spaces)."))
    }

    /// The number with its `+`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the numbers that carriers send become E.164: rules `prefix=replacement`, the first whose
/// prefix matches is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberRules(Vec<(String, String)>);

impl Default for NumberRules {
    /// `+=+,00=+,=+`: `+1800...`, `001800...` and `1800...` are the same number.
    fn default() -> Self {
        let rule = |from: &str| (from.to_owned(), "+".to_owned());
        NumberRules(vec![rule("+"), rule("00"), rule("")])
    }
}

impl NumberRules {
    /// Parses `prefix=replacement` rules separated by commas: `+=+,011=+,00=+,1=+1,=+1`.
    ///
    /// # Errors
    /// A prefix is digits or `+`, or empty; a replacement starts with `+` and goes on with digits.
    pub fn parse(text: &str) -> Result<Self> {
        let rules: Option<Vec<_>> = text
            .split(',')
            .map(|rule| {
                let (from, to) = rule.trim().split_once('=')?;
                let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
                let valid = digits(from.strip_prefix('+').unwrap_or(from)) && to.strip_prefix('+').is_some_and(digits);
                valid.then(|| (from.to_owned(), to.to_owned()))
            })
            .collect();
        rules.map(NumberRules).ok_or_else(|| {
            Error::invalid(format!("CAPCONDUIT_NUMBER_RULES is \"{text}\""))
                .hint("Write prefix=replacement pairs separated by commas, for example +=+,00=+,=+")
        })
    }

    /// The E.164 form of what a carrier sent; visual separators (space, `-`, `.`, `(`, `)`) are
    /// dropped. None where no rule makes a valid number of it.
    #[must_use]
    pub fn normalize(&self, raw: &str) -> Option<E164> {
        // 15 digits, a prefix and separators: longer input is no number, and is not worth a copy
        if raw.len() > 64 {
            return None;
        }
        let dialled: String = raw.chars().filter(|c| !" -.()".contains(*c)).collect();
        let (from, to) = self.0.iter().find(|(from, _)| dialled.starts_with(from.as_str()))?;
        E164::parse(&format!("{to}{}", &dialled[from.len()..])).ok()
    }
}

impl NumberRules {
    /// What is doubtful about a number that somebody typed, which has become `number`; None where nothing is.
    #[must_use]
    pub fn doubt(&self, raw: &str, number: &E164) -> Option<&'static str> {
        let dialled: String = raw.chars().filter(|c| !" -.()".contains(*c)).collect();
        let rule = self.0.iter().find(|(from, _)| dialled.starts_with(from.as_str()));
        if number.as_str().len() < 8 {
            return Some("it has fewer than 7 digits");
        }
        // a rule that adds a country is somebody's decision, the one that adds nothing is not
        if rule.is_some_and(|(from, to)| from.is_empty() && to == "+") {
            return Some("it had no +, so that its first digits are taken for the country code");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalized(rules: &NumberRules, raw: &str) -> Option<String> {
        rules.normalize(raw).map(|n| n.to_string())
    }

    #[test]
    fn the_three_common_forms_are_one_number() {
        let rules = NumberRules::default();
        for raw in ["18005550101", "+18005550101", "0018005550101", "+1 (800) 555-0101"] {
            assert_eq!(normalized(&rules, raw).as_deref(), Some("+18005550101"), "{raw}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        let rules = NumberRules::default();
        for raw in ["", "+", "00", "+0123", "+1", "acme", "+1800555010112345", "1;drop", "１２３４", "h"] {
            assert_eq!(normalized(&rules, raw), None, "{raw}");
        }
    }

    #[test]
    fn national_numbers_get_their_country_by_rule() {
        let rules = NumberRules::parse("+=+, 011=+, 1=+1, =+1").expect("valid rules");
        assert_eq!(normalized(&rules, "8005550101").as_deref(), Some("+18005550101"));
        assert_eq!(normalized(&rules, "18005550101").as_deref(), Some("+18005550101"));
        assert_eq!(normalized(&rules, "011442071838750").as_deref(), Some("+442071838750"));
    }

    #[test]
    fn numbers_without_their_country_are_doubtful() {
        let doubt = |rules: &NumberRules, raw| rules.doubt(raw, &rules.normalize(raw).expect("a number")).is_some();
        let rules = NumberRules::default();
        for (raw, is_doubtful) in [
            ("+18005550131", false),
            ("0018005550131", false),
            (" (+1) 800 555 0131", false),
            ("8005550131", true),
            ("555", true),
            ("+555", true),
        ] {
            assert_eq!(doubt(&rules, raw), is_doubtful, "{raw}");
        }
        let rules = NumberRules::parse("+=+,1=+1,=+1").expect("valid rules");
        assert!(!doubt(&rules, "8005550131") && !doubt(&rules, "18005550131"));
    }

    #[test]
    fn bad_rules_are_refused() {
        for text in ["", "x", "=", "00=", "a=+", "00=1", "++=+", "+=+,"] {
            assert!(NumberRules::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_result_is_e164_or_nothing(raw in any::<String>()) {
            if let Some(number) = NumberRules::default().normalize(&raw) {
                prop_assert!(E164::parse(number.as_str()).is_ok());
                prop_assert!(number.as_str().len() <= 16);
                // and normalising it again changes nothing
                prop_assert_eq!(NumberRules::default().normalize(number.as_str()), Some(number));
            }
        }

        #[test]
        fn every_number_survives_each_prefix(digits in "[1-9][0-9]{1,14}") {
            let rules = NumberRules::default();
            let expected = format!("+{digits}");
            for raw in [digits.clone(), format!("+{digits}"), format!("00{digits}")] {
                prop_assert_eq!(normalized(&rules, &raw), Some(expected.clone()));
            }
        }
    }
}
