//! Bars and sparklines, in the characters that the terminal has.

use std::env;

/// The characters that are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Block elements.
    Unicode,
    /// Where the locale is not UTF-8.
    Ascii,
}

impl Charset {
    /// What the locale of this process allows: the first of its variables that is set counts.
    pub(crate) fn of_locale() -> Charset {
        let set = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let locale = locale.to_ascii_lowercase().replace('-', "");
        if locale.contains("utf8") { Charset::Unicode } else { Charset::Ascii }
    }

    /// How much of `max` is taken: `▕███──▏`. A bar is empty at 0 only, and full from `max` on only.
    pub(crate) fn bar(self, value: i64, max: i64, width: usize) -> String {
        let (left, full, free, right) = match self {
            Charset::Unicode => ("▕", "█", "─", "▏"),
            Charset::Ascii => ("[", "#", "-", "]"),
        };
        let cells = cells(value, max, width);
        format!("{left}{}{}{right}", full.repeat(cells), free.repeat(width - cells))
    }

    /// A bar whose end may be ragged: its length is the share of `max`.
    pub(crate) fn stroke(self, value: i64, max: i64, width: usize) -> String {
        let full = match self {
            Charset::Unicode => "█",
            Charset::Ascii => "#",
        };
        full.repeat(cells(value, max, width))
    }

    /// One character per value, as high as its share of the highest. The lowest is 0 and nothing else.
    pub(crate) fn sparkline(self, values: &[i64]) -> String {
        let levels: &[char] = match self {
            Charset::Unicode => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Charset::Ascii => &['_', '.', ':', '-', '=', '+', '*', '#'],
        };
        let max = values.iter().copied().max().unwrap_or(0);
        values.iter().map(|&value| levels[cells(value, max, levels.len() - 1)]).collect()
    }
}

/// How many of `width` cells stand for this share: none for nothing, all for all, else between.
fn cells(value: i64, max: i64, width: usize) -> usize {
    if value <= 0 || width == 0 {
        return 0;
    }
    if value >= max {
        return width;
    }
    let share = i128::from(value) * width as i128 / i128::from(max);
    usize::try_from(share).unwrap_or(width).clamp(1, (width - 1).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bars() {
        assert_eq!(Charset::Unicode.bar(3, 5, 5), "▕███──▏");
        assert_eq!(Charset::Ascii.bar(3, 5, 5), "[###--]");
        assert_eq!(Charset::Ascii.bar(7, 5, 5), "[#####]");
        assert_eq!(Charset::Ascii.bar(999, 1000, 10), "[#########-]");
        assert_eq!(Charset::Ascii.bar(0, 0, 3), "[---]");
        assert_eq!(Charset::Ascii.stroke(1, 1000, 20), "#");
    }

    #[test]
    fn sparklines() {
        assert_eq!(Charset::Unicode.sparkline(&[0, 1, 50, 100]), "▁▂▄█");
        assert_eq!(Charset::Ascii.sparkline(&[0, 1, 100, 0]), "_.#_");
        assert_eq!(Charset::Ascii.sparkline(&[0, 0]), "__");
    }

    proptest! {
        #[test]
        fn a_bar_says_nothing_wrong(value in 0i64.., max in 1i64.., width in 2usize..40) {
            let cells = cells(value, max, width);
            prop_assert_eq!(cells == 0, value == 0);
            prop_assert_eq!(cells == width, value >= max);
            prop_assert_eq!(Charset::Unicode.bar(value, max, width).chars().count(), width + 2);
        }
    }
}
