//! Phone numbers: from what a carrier sends to E.164 (ITU-T E.164: `+`, then 2 to 15 digits, the
//! first not 0).

use std::fmt;

use crate::{Error, Result, text};

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

/// Rules `prefix=replacement` that turn a carrier's number into E.164; the first whose prefix matches is applied.
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

    /// Reads a number that was dialled, typed or found in a file. No digits are joined across other text: such text
    /// ends the number or makes it invalid.
    ///
    /// # Errors
    /// Why it is no number.
    pub fn read(&self, raw: &str) -> Result<E164, NoNumber> {
        Ok(self.apply(&Written::parse(raw)?)?.0)
    }

    /// As [`NumberRules::read`]; None where it is no number.
    #[must_use]
    pub fn normalize(&self, raw: &str) -> Option<E164> {
        self.read(raw).ok()
    }

    /// The dialled number as a record keeps it: E.164, else the text that was sent, as much as fits.
    #[must_use]
    pub fn recorded(&self, raw: &str) -> String {
        self.normalize(raw).map_or_else(|| text::truncate(raw, 50).to_owned(), |number| number.0)
    }

    /// The number, and the rule that made it.
    fn apply(&self, written: &Written) -> Result<(E164, &(String, String)), NoNumber> {
        let dialled = format!("{}{}", if written.plus { "+" } else { "" }, written.digits);
        let rule = self.0.iter().find(|(from, _)| dialled.starts_with(from.as_str())).ok_or(NoNumber::NoRule)?;
        let (from, to) = rule;
        let number = E164::parse(&format!("{to}{}", &dialled[from.len()..])).map_err(|_| NoNumber::NoRule)?;
        // A number with an international prefix means the same everywhere; any other must begin with its
        // phone-context. The two are never joined: a national number may begin with a digit that is dialled, but not
        // part of it.
        let is_international = !from.is_empty() && to == "+";
        match &written.context {
            Some(context) if !is_international && !number.0.starts_with(context) => Err(NoNumber::Context),
            _ => Ok((number, rule)),
        }
    }

    /// The number that a carrier sends to reach the DID `stored`; None where no call reaches it.
    #[must_use]
    pub fn reached_by(&self, stored: &str) -> Option<String> {
        self.0.iter().find_map(|(from, to)| {
            let sent = format!("{from}{}", stored.strip_prefix(to.as_str())?);
            (self.normalize(&sent)?.as_str() == stored).then_some(sent)
        })
    }

    /// Why no call reaches the DID `stored`; None where calls do.
    #[must_use]
    pub fn out_of_reach(&self, stored: &str) -> Option<OutOfReach> {
        if self.reached_by(stored).is_some() {
            return None;
        }
        Some(match self.read(stored) {
            Ok(number) => OutOfReach::ArrivesAs(number),
            Err(_) if E164::parse(stored).is_ok() => OutOfReach::NeverMade,
            Err(why) => OutOfReach::NoNumber(why),
        })
    }

    /// Whether calls reach every DID that is stored as E.164.
    #[must_use]
    pub fn reach_all(&self) -> bool {
        let rule = self.0.iter().find(|(from, _)| from.is_empty() || from.starts_with('+'));
        rule.is_some_and(|(from, to)| from == "+" && to == "+")
    }

    /// What is doubtful about a number that somebody typed; None where nothing is, or where it is no number.
    #[must_use]
    pub fn doubt(&self, raw: &str) -> Option<Doubt> {
        let (number, (from, to)) = self.apply(&Written::parse(raw).ok()?).ok()?;
        // a rule that adds a country was chosen by somebody; `=+`, the default, adds none
        if from.is_empty() && to == "+" {
            return Some(Doubt::Country);
        }
        (number.as_str().len() < 8).then_some(Doubt::Short)
    }

    /// How many digits a number has, where the rule with the empty prefix adds its country; None for any other number.
    #[must_use]
    pub fn national_digits(&self, raw: &str) -> Option<usize> {
        let written = Written::parse(raw).ok()?;
        let (_, (from, to)) = self.apply(&written).ok()?;
        (from.is_empty() && to != "+").then_some(written.digits.len())
    }
}

/// Why no call reaches a DID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutOfReach {
    /// A call to it arrives as this number.
    ArrivesAs(E164),
    /// The rules turn no number that a carrier could send into this one.
    NeverMade,
    /// It is stored, and is no number.
    NoNumber(NoNumber),
}

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutOfReach::ArrivesAs(number) => write!(f, "a call to it arrives as {number}"),
            OutOfReach::NeverMade => {
                f.write_str("CAPCONDUIT_NUMBER_RULES make this number of nothing that a carrier sends")
            }
            OutOfReach::NoNumber(why) => write!(f, "it is not a phone number, {why}"),
        }
    }
}

/// Why a number may not be what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nobody has said its country.
    Country,
    /// It is shorter than numbers are.
    Short,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::Country => "it has no +, so that its first digits are taken for the country code",
            Doubt::Short => "it has fewer than 7 digits",
        })
    }
}

/// Why something is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoNumber {
    /// It has no digits.
    Empty,
    /// It is longer than numbers are.
    Long,
    /// This character is part of no number, or not at its place.
    Character(char),
    /// A 0 in parentheses behind other digits.
    TrunkPrefix,
    /// A quantity of a spreadsheet.
    Decimal,
    /// What stands behind a `;` is not `name` or `name=value`.
    Parameter,
    /// The rules make it a number outside of its phone-context.
    Context,
    /// No rule makes it E.164.
    NoRule,
}

impl fmt::Display for NoNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoNumber::Empty => "it has no digits",
            NoNumber::Long => "it is too long",
            NoNumber::Character(c) => return write!(f, "no number has '{}' there", c.escape_debug()),
            NoNumber::TrunkPrefix => {
                "a 0 in parentheses is part of the number in some countries and not in others: write the number \
                 as it is called from abroad"
            }
            NoNumber::Decimal => "it is a decimal number of a spreadsheet, whose column should be text",
            NoNumber::Parameter => "what follows the ; is no parameter",
            NoNumber::Context => "CAPCONDUIT_NUMBER_RULES make it a number outside of its phone-context",
            NoNumber::NoRule => "CAPCONDUIT_NUMBER_RULES make no number of 2 to 15 digits of it",
        })
    }
}

/// A number as people and carriers write it (RFC 3966): `+` or not, digits with visual separators between them, then
/// parameters. Any other character is refused: skipping it would join digits of different things.
#[derive(Debug)]
struct Written {
    plus: bool,
    digits: String,
    /// The beginning of the international number, where the phone-context gives it.
    context: Option<String>,
}

/// How many separators may stand at one place, as in `) - `.
const MAX_GAP: usize = 3;

impl Written {
    fn parse(raw: &str) -> Result<Written, NoNumber> {
        let (number, parameters) = raw.split_once(';').unwrap_or((raw, ""));
        // 15 digits, a prefix and separators: longer input is no number
        if number.len() > 64 {
            return Err(NoNumber::Long);
        }
        let number = number.trim_matches(' ');
        let number = match number.get(..4) {
            Some(scheme) if scheme.eq_ignore_ascii_case("tel:") => &number[4..],
            _ => number,
        };
        // the key that ends dialling
        let number = number.strip_suffix('#').unwrap_or(number);
        let mut written = Written { plus: false, digits: String::new(), context: context(parameters)? };
        written.take(number)?;
        if is_decimal(number) { Err(NoNumber::Decimal) } else { Ok(written) }
    }

    /// Takes + and digits. Separators stand between digits; only parentheses stand around some.
    fn take(&mut self, number: &str) -> Result<(), NoNumber> {
        let (mut gap, mut opened, mut last) = (0, None, None);
        for c in number.chars() {
            let begins = self.digits.is_empty();
            let fits = match c {
                '0' if !begins && last == Some('(') => return Err(NoNumber::TrunkPrefix),
                '0'..='9' => true,
                '+' => begins && !self.plus,
                '(' => opened.is_none(),
                ')' => opened.is_some_and(|at| at < self.digits.len()),
                ' ' => self.plus || !begins,
                '-' | '.' => !begins,
                _ => false,
            };
            gap = if c.is_ascii_digit() { 0 } else { gap + 1 };
            if !fits || gap > MAX_GAP {
                return Err(NoNumber::Character(c));
            }
            match c {
                '0'..='9' => self.digits.push(c),
                '+' => self.plus = true,
                '(' => opened = Some(self.digits.len()),
                ')' => opened = None,
                _ => {}
            }
            last = Some(c);
        }
        match last {
            _ if self.digits.is_empty() => Err(NoNumber::Empty),
            _ if opened.is_some() => Err(NoNumber::Character('(')),
            Some(c @ (' ' | '-' | '.')) => Err(NoNumber::Character(c)),
            _ => Ok(()),
        }
    }
}

/// Whether a spreadsheet took it for a quantity: `18005550101.0`.
fn is_decimal(number: &str) -> bool {
    number.split_once('.').is_some_and(|(_, decimals)| {
        !decimals.contains('.') && (decimals.len() == 1 || decimals.bytes().all(|b| b == b'0'))
    })
}

/// The phone-context in the parameters `name=value;name`, where it is the beginning of a number. A domain stands for
/// a private numbering plan, which the rules translate.
fn context(parameters: &str) -> Result<Option<String>, NoNumber> {
    let mut context = None;
    // a ; with nothing behind it says nothing
    for parameter in parameters.split(';').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        // a list of numbers is no number
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !is_name {
            return Err(NoNumber::Parameter);
        }
        if !name.eq_ignore_ascii_case("phone-context") || context.is_some() {
            continue;
        }
        let is_domain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        match value.strip_prefix('+') {
            Some(begin) => {
                let digits: String = begin.chars().filter(|c| !"-.()".contains(*c)).collect();
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(NoNumber::Parameter);
                }
                context = Some(format!("+{digits}"));
            }
            None if value.is_empty() || !value.chars().all(is_domain) => return Err(NoNumber::Parameter),
            None => {}
        }
    }
    Ok(context)
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

    /// The examples of RFC 3966 and RFC 4694, and what else carriers, people and spreadsheets write.
    #[test]
    fn what_is_no_part_of_a_number_ends_it_or_makes_it_none() {
        let rules = NumberRules::default();
        for (raw, number) in [
            // RFC 3966
            ("tel:+1-201-555-0123", "+12015550123"),
            ("TEL:+1-201-555-0123", "+12015550123"),
            ("+1-(201).555 0123", "+12015550123"),
            ("+358-555-1234567;postd=pp22", "+3585551234567"),
            ("+44-20-7946-0123;isub=1411", "+442079460123"),
            ("+1800555010;ext=1", "+1800555010"),
            ("+1800555010;EXT=1", "+1800555010"),
            ("+18005550101;isub-encoding=nsap;isub=1411", "+18005550101"),
            ("+18005550101;unknown;user=phone;x_tgrp=a,b&c", "+18005550101"),
            ("+18005550101;", "+18005550101"),
            // RFC 4694, RFC 4904
            ("+1-800-123-4567;cic=+1-6789", "+18001234567"),
            ("+1-202-533-1234;npdi;rn=+1-202-544-0000", "+12025331234"),
            ("+12025331234;rn=+12025440000;npdi;cic=0288", "+12025331234"),
            ("+12025331234;rn=5440000;rn-context=+1-202;npdi", "+12025331234"),
            ("+18005550101;tgrp=local;trunk-context=+1-630", "+18005550101"),
            // a context that the rules agree with, or that a global number needs none of
            ("18005550101;phone-context=+1", "+18005550101"),
            ("18005550101;Phone-Context=+1-800", "+18005550101"),
            ("18005550101;phone-context=carrier.example.com", "+18005550101"),
            ("tel:7042;phone-context=example.com", "+7042"),
            ("+18005550101;phone-context=+44", "+18005550101"),
            ("00442079460123;phone-context=+1", "+442079460123"),
            // the end of dialling
            ("18005550101#", "+18005550101"),
            ("+18005550101#;npdi", "+18005550101"),
            // people
            ("+1 (800) 555-0101", "+18005550101"),
            (" (+1) 800 - 555.0101 ", "+18005550101"),
            ("+(44) 20 7946 0123", "+442079460123"),
            ("1.800.555.0000", "+18005550000"),
            ("(0044) 20 7946 0123", "+442079460123"),
            ("+39 06 1234567", "+39061234567"),
            ("18.005.550.113", "+18005550113"),
        ] {
            assert_eq!(normalized(&rules, raw).as_deref(), Some(number), "{raw}");
        }
        for (raw, why) in [
            // RFC 3966: a local number does not say which prefix it needs elsewhere
            ("863-1234;phone-context=+1-914-555", NoNumber::Context),
            ("8005550101;phone-context=+1", NoNumber::Context),
            ("18005550101;phone-context=+44", NoNumber::Context),
            ("18005550101;phone-context=", NoNumber::Parameter),
            ("18005550101;phone-context=+", NoNumber::Parameter),
            ("18005550101;phone-context=%2B44", NoNumber::Parameter),
            ("18005550101;phone-context=ä", NoNumber::Parameter),
            // a list is no number
            ("5550101;5550102", NoNumber::Parameter),
            ("+1800555;+0101", NoNumber::Parameter),
            ("+1800555010 1;=1", NoNumber::Parameter),
            (";ext=18005550101", NoNumber::Empty),
            // keys, pauses, extensions
            ("#18005550101", NoNumber::Character('#')),
            ("12345#18005550101", NoNumber::Character('#')),
            ("18005550101##", NoNumber::Character('#')),
            ("*72", NoNumber::Character('*')),
            ("1800555*0101", NoNumber::Character('*')),
            ("1800555,0101", NoNumber::Character(',')),
            ("+18005550101p1", NoNumber::Character('p')),
            ("+18005550101w1", NoNumber::Character('w')),
            ("+18005550101x1", NoNumber::Character('x')),
            ("+1800555010 ext. 1", NoNumber::Character('e')),
            ("18005550101F", NoNumber::Character('F')),
            ("1800555ABCD", NoNumber::Character('A')),
            ("%2B18005550101", NoNumber::Character('%')),
            ("1800555%2D0101", NoNumber::Character('%')),
            ("+1800555\n0101", NoNumber::Character('\n')),
            ("+1800555\u{a0}0101", NoNumber::Character('\u{a0}')),
            ("\u{202a}+18005550101", NoNumber::Character('\u{202a}')),
            ("+1800555٠101", NoNumber::Character('٠')),
            ("+1800555/0101", NoNumber::Character('/')),
            ("+18005550101:0102", NoNumber::Character(':')),
            ("sip:+18005550101", NoNumber::Character('s')),
            ("+18005550101@host", NoNumber::Character('@')),
            // separators that separate nothing
            ("-18005550101", NoNumber::Character('-')),
            (".18005550101", NoNumber::Character('.')),
            ("+18005550101-", NoNumber::Character('-')),
            ("+-18005550101", NoNumber::Character('-')),
            ("++18005550101", NoNumber::Character('+')),
            ("1+8005550101", NoNumber::Character('+')),
            ("5550101    5550102", NoNumber::Character(' ')),
            ("+1 (800 555 0101", NoNumber::Character('(')),
            ("+1 800) 555 0101", NoNumber::Character(')')),
            ("+1 () 800 555 0101", NoNumber::Character(')')),
            ("+1 ((800)) 555 0101", NoNumber::Character('(')),
            // whether the 0 is dialled depends on the country
            ("+44 (0)20 7183 8750", NoNumber::TrunkPrefix),
            ("+44(0)2071838750", NoNumber::TrunkPrefix),
            ("0044 (0) 20 7183 8750", NoNumber::TrunkPrefix),
            ("+44 (020) 7183 8750", NoNumber::TrunkPrefix),
            ("(+44) (0)20 7183 8750", NoNumber::TrunkPrefix),
            // spreadsheets
            ("+18005550113.0", NoNumber::Decimal),
            ("18005550113.00", NoNumber::Decimal),
            ("18005550113.", NoNumber::Character('.')),
            ("1.8005550113E10", NoNumber::Character('E')),
            ("1.80056E+10", NoNumber::Character('E')),
            ("18,005,550,113", NoNumber::Character(',')),
            ("'+18005550113", NoNumber::Character('\'')),
            ("=\"18005550113\"", NoNumber::Character('=')),
            ("#######", NoNumber::Character('#')),
            ("+0123", NoNumber::NoRule),
            ("1234567890123456", NoNumber::NoRule),
            (&"1".repeat(65), NoNumber::Long),
        ] {
            assert_eq!(rules.read(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn a_context_must_agree_with_the_rules() {
        let rules = NumberRules::parse("+=+,011=+,1=+1,=+1").expect("valid rules");
        for raw in ["8005550101;phone-context=+1", "18005550101;phone-context=+1", "8005550101;phone-context=+1800"] {
            assert_eq!(normalized(&rules, raw).as_deref(), Some("+18005550101"), "{raw}");
        }
        for raw in ["2071838750;phone-context=+44", "18005550101;phone-context=+1900", "5550101;phone-context=+1-800"] {
            assert_eq!(rules.read(raw), Err(NoNumber::Context), "{raw}");
        }
        let british = NumberRules::parse("+=+,00=+,0=+44").expect("valid rules");
        assert_eq!(normalized(&british, "(020) 7183 8750;phone-context=+44").as_deref(), Some("+442071838750"));
        assert_eq!(british.read("2071838750"), Err(NoNumber::NoRule));
    }

    #[test]
    fn a_record_has_the_number_or_what_was_sent() {
        let rules = NumberRules::default();
        assert_eq!(rules.recorded("+1800555010;ext=1"), "+1800555010");
        assert_eq!(rules.recorded("1800555,0101"), "1800555,0101");
        assert_eq!(rules.recorded(&"é".repeat(60)), "é".repeat(50));
    }

    #[test]
    fn numbers_without_their_country_are_doubtful() {
        let rules = NumberRules::default();
        for (raw, doubt) in [
            ("+18005550131", None),
            ("0018005550131", None),
            (" (+1) 800 555 0131", None),
            ("8005550131", Some(Doubt::Country)),
            ("18005550131", Some(Doubt::Country)),
            ("18005550131;phone-context=+1", Some(Doubt::Country)),
            ("555", Some(Doubt::Country)),
            ("+555", Some(Doubt::Short)),
            ("acme", None),
        ] {
            assert_eq!(rules.doubt(raw), doubt, "{raw}");
        }
        let rules = NumberRules::parse("+=+,1=+1,=+1").expect("valid rules");
        for (raw, digits) in [("8005550131", Some(10)), ("18005550131", None), ("+18005550131", None)] {
            assert_eq!((rules.doubt(raw), rules.national_digits(raw)), (None, digits), "{raw}");
        }
    }

    #[test]
    fn a_stored_number_is_reached_or_not() {
        let of = |rules: &str, stored: &str| NumberRules::parse(rules).expect("valid rules").reached_by(stored);
        for (rules, stored, sent) in [
            ("+=+,00=+,=+", "+18005550101", Some("+18005550101")),
            ("1=+1,=+1", "+18005550101", Some("18005550101")),
            ("0=+44", "+442071838750", Some("02071838750")),
            ("00=+,0=+44", "+4402071838750", Some("004402071838750")),
            // 00 of it would be read by the first rule
            ("00=+1,0=+44", "+4402071838750", None),
            ("1=+1,=+1", "+442071838750", None),
            ("0=+44", "+18005550101", None),
        ] {
            assert_eq!(of(rules, stored).as_deref(), sent, "{rules} {stored}");
        }
        for stored in ["18005550101", "+1 800 555 0101", "acme", "", "+", "+0123", "+1234567890123456", "0018005550101"]
        {
            assert_eq!(of("+=+,00=+,=+", stored), None, "{stored}");
        }
        let why = |rules: &str, stored: &str| NumberRules::parse(rules).expect("valid rules").out_of_reach(stored);
        let number = |text: &str| E164::parse(text).expect("a number");
        for (rules, stored, expected) in [
            ("+=+,00=+,=+", "+18005550101", None),
            ("+=+,00=+,=+", "18005550101", Some(OutOfReach::ArrivesAs(number("+18005550101")))),
            ("+=+,00=+,=+", "+1 (800) 555-0101", Some(OutOfReach::ArrivesAs(number("+18005550101")))),
            ("1=+1,=+1", "+442071838750", Some(OutOfReach::NeverMade)),
            ("+1=+44", "+18005550101", Some(OutOfReach::ArrivesAs(number("+448005550101")))),
            ("+=+,00=+,=+", "acme", Some(OutOfReach::NoNumber(NoNumber::Character('a')))),
            ("+=+,00=+,=+", "+1234567890123456", Some(OutOfReach::NoNumber(NoNumber::NoRule))),
        ] {
            assert_eq!(why(rules, stored), expected, "{rules} {stored}");
        }
        for (rules, all) in [
            ("+=+,00=+,=+", true),
            ("0=+44,+=+", true),
            ("+1=+1,+=+", false),
            ("=+1", false),
            ("=+,+=+", false),
            ("0=+44", false),
        ] {
            assert_eq!(NumberRules::parse(rules).expect("valid rules").reach_all(), all, "{rules}");
        }
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

        /// No two digits are joined across other text: the number ends in one run of the digits sent, and begins with
        /// what the rule adds.
        #[test]
        fn the_digits_of_a_number_are_a_run_of_what_was_sent(
            raw in "(tel:)?[+]?[0-9() .-]{1,18}([0-9;=a-zA-Z#*,+%_ -]|\\PC){0,12}[0-9]{0,9}",
            rules in prop_oneof![Just("+=+,00=+,=+"), Just("+=+,011=+,1=+1,=+1"), Just("00=+,0=+44,+=+")],
        ) {
            let rules = NumberRules::parse(rules).expect("valid rules");
            if let Some(number) = rules.normalize(&raw) {
                let runs = raw.split(|c: char| !(c.is_ascii_digit() || " -.()".contains(c)));
                let runs: Vec<String> =
                    runs.map(|run| run.chars().filter(char::is_ascii_digit).collect()).collect();
                let is_run_of = |(from, to): &(String, String)| {
                    let sent = |rest: &str| format!("{}{rest}", from.trim_start_matches('+'));
                    // it is the first with digits: nothing that follows is taken for the number
                    number.as_str().strip_prefix(to.as_str()).is_some_and(|rest| {
                        runs.iter().find(|run| !run.is_empty()) == Some(&sent(rest))
                    })
                };
                prop_assert!(rules.0.iter().any(is_run_of), "{} of {:?}", number, raw);
            }
        }

        /// What follows a number does not change it.
        #[test]
        fn parameters_do_not_change_a_number(digits in "[1-9][0-9]{1,14}", parameters in "(;[a-z][a-z0-9-]{0,8}(=[^;]{0,12})?){1,4}") {
            let rules = NumberRules::default();
            let number = format!("+{digits}");
            let read = normalized(&rules, &format!("{number}{parameters}"));
            prop_assert!(read.is_none_or(|read| read == number));
        }

        #[test]
        fn a_number_is_reached_or_there_is_nothing_that_becomes_it(raw in "[+]?[0-9]{1,16}") {
            for rules in ["+=+,00=+,=+", "+=+,011=+,1=+1,=+1", "00=+,0=+44", "1=+1,=+44"] {
                let rules = NumberRules::parse(rules).expect("valid rules");
                if let Some(number) = rules.normalize(&raw) {
                    prop_assert!(rules.reached_by(number.as_str()).is_some(), "{} of {}", number, raw);
                }
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
