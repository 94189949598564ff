//! Checks which records are mates, by the names in two files, or in an interleaved one.
//!
//! ```text
//! name          name                 equal; the comment may say which mate it is (1:N:0, 2:N:0)
//! name/1        name/2               old Illumina
//! name_1:N:0:X  name_2:N:0:X         Casava's comment joined to the name
//! name.1        name.2               sequence archives; also with _ - : # for the point
//! name_R1       name_R2              and name_F name_R, name_f name_r, name_fwd name_rev
//! ```
//! The first pair decides which convention a file follows; all others must follow it too.

use crate::frame::split_head;

/// Endings of the names of first and second mates, without the separator before them.
const ENDINGS: [(&[u8], &[u8]); 5] = [(b"1", b"2"), (b"R1", b"R2"), (b"F", b"R"), (b"f", b"r"), (b"fwd", b"rev")];

/// What separates a name from its ending.
const SEPARATORS: &[u8] = b"_./-:#";

/// How the names of mates differ in one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MateNames {
    /// Not at all, or by `/1` and `/2`.
    #[default]
    Alike,
    /// By these endings.
    Ending(Ending),
    /// Names are ignored: mates are determined by the order of the records.
    Unread,
}

/// The ending of a mate's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    separator: u8,
    first: &'static [u8],
    second: &'static [u8],
    /// Whether Casava's `:N:0:INDEX` follows it.
    has_tail: bool,
}

/// Why two records are not the mates they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// They belong to two fragments.
    Names,
    /// Both are first mates.
    BothFirst,
    /// Both are second mates.
    BothSecond,
    /// The first is a second mate, and the second a first one.
    Swapped,
}

impl MateNames {
    /// The convention of an input whose first mates have these heads.
    pub fn of(first: &[u8], second: &[u8]) -> Self {
        let names = [first, second].map(|head| split_head(head).0);
        if fragment_name(names[0]) == fragment_name(names[1]) {
            return Self::Alike;
        }
        Ending::all().find(|ending| ending.parts(names[0], names[1])).map_or(Self::Alike, Self::Ending)
    }

    /// Checks that two records with these heads are the mates of a fragment, first mate first.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(self, first: &[u8], second: &[u8]) -> Result<(), Mismatch> {
        let ((first_name, first_comment), (second_name, second_comment)) = (split_head(first), split_head(second));
        match self {
            Self::Unread => Ok(()),
            Self::Ending(ending) if ending.parts(first_name, second_name) => Ok(()),
            Self::Ending(ending) if ending.parts(second_name, first_name) => Err(Mismatch::Swapped),
            Self::Ending(_) => Err(Mismatch::Names),
            Self::Alike if fragment_name(first_name) != fragment_name(second_name) => {
                let is_swapped = Ending::all().any(|ending| ending.parts(second_name, first_name));
                Err(if is_swapped { Mismatch::Swapped } else { Mismatch::Names })
            }
            Self::Alike => match (mark(first_name, first_comment), mark(second_name, second_comment)) {
                (Some(1), Some(1)) => Err(Mismatch::BothFirst),
                (Some(2), Some(2)) => Err(Mismatch::BothSecond),
                (Some(2), Some(1)) => Err(Mismatch::Swapped),
                _ => Ok(()),
            },
        }
    }

    /// The name under which both mates are stored, and the comment. `/1` and `/2` are kept, since every tool knows
    /// them.
    pub fn stored<'a>(self, name: &'a [u8], comment: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let Self::Ending(ending) = self else { return (name, comment) };
        let marked = if ending.has_tail { without_tail(name).unwrap_or(name) } else { name };
        let parts = [ending.first, ending.second].map(|mark| ending.stem(marked, mark));
        match parts.into_iter().flatten().next() {
            Some(stem) if ending.has_tail && comment.is_empty() => (stem, &name[stem.len() + 1..]),
            Some(stem) => (stem, comment),
            None => (name, comment),
        }
    }
}

impl Ending {
    fn all() -> impl Iterator<Item = Self> {
        [false, true].into_iter().flat_map(|has_tail| {
            ENDINGS.into_iter().flat_map(move |(first, second)| {
                SEPARATORS.iter().map(move |&separator| Self { separator, first, second, has_tail })
            })
        })
    }

    /// Whether these are the names of a first and of a second mate.
    fn parts(&self, first: &[u8], second: &[u8]) -> bool {
        let marked = |name| if self.has_tail { without_tail(name) } else { Some(name) };
        let stems = (
            marked(first).and_then(|name| self.stem(name, self.first)),
            marked(second).and_then(|name| self.stem(name, self.second)),
        );
        matches!(stems, (Some(one), Some(two)) if one == two)
    }

    fn stem<'a>(&self, name: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
        name.strip_suffix(mark)?.strip_suffix(&[self.separator])
    }
}

/// A name without `:N:0:INDEX` or `:Y:18:INDEX` (is it filtered, control number, index) at its end.
fn without_tail(name: &[u8]) -> Option<&[u8]> {
    let mut end = name.len();
    while let Some(at) = memchr::memrchr2(b'N', b'Y', &name[..end]) {
        if at > 0 && name[at - 1] == b':' && name.get(at + 1) == Some(&b':') {
            return Some(&name[..at - 1]);
        }
        end = at;
    }
    None
}

/// Which mate a record is according to itself: from `/1` at the end of its name, from a comment that begins like
/// Casava's (`1:N:0`), or from the instrument's name in an archive's comment (`EAS139_45:5:1:2:111/1`).
fn mark(name: &[u8], comment: &[u8]) -> Option<u8> {
    let number = |digit: u8| matches!(digit, b'1' | b'2').then(|| digit - b'0');
    if let [_, .., b'/', digit] = name
        && let Some(number) = number(*digit)
    {
        return Some(number);
    }
    match comment {
        [digit, b':', b'N' | b'Y', b':', ..] => number(*digit),
        _ => match comment.split(|byte| byte.is_ascii_whitespace()).next()? {
            word @ [.., b'/', digit] if word.contains(&b':') => number(*digit),
            _ => casava_mark(name),
        },
    }
}

/// The mark of a name like `X_1:N:0:INDEX`.
fn casava_mark(name: &[u8]) -> Option<u8> {
    match without_tail(name)? {
        [_, .., separator, digit @ (b'1' | b'2')] if SEPARATORS.contains(separator) => Some(digit - b'0'),
        _ => None,
    }
}

/// A read's name without the `/1` or `/2` that distinguishes mates.
pub(crate) fn fragment_name(name: &[u8]) -> &[u8] {
    match name {
        [fragment @ .., b'/', b'1' | b'2'] => fragment,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragment_names() {
        for (name, fragment) in [("a/1", "a"), ("a/2", "a"), ("a/3", "a/3"), ("a", "a"), ("/1", "")] {
            assert_eq!(fragment_name(name.as_bytes()), fragment.as_bytes());
        }
    }

    /// The result for the first pair of a file.
    fn first_pair(one: &str, two: &str) -> Result<(), Mismatch> {
        MateNames::of(one.as_bytes(), two.as_bytes()).check(one.as_bytes(), two.as_bytes())
    }

    #[test]
    fn customary_names_are_mates_and_share_a_name() {
        let cases = [
            ("X", "X", "X", "X"),
            ("X 1:N:0:A", "X 2:N:0:A", "X", "X"),
            ("X/1", "X/2", "X/1", "X/2"),
            ("K1:0_1:N:0:GC", "K1:0_2:N:0:GC", "K1:0", "K1:0"),
            ("X_1", "X_2", "X", "X"),
            ("SRR1.17.1 length=76", "SRR1.17.2 length=76", "SRR1.17", "SRR1.17"),
            ("X-1", "X-2", "X", "X"),
            ("X_R1", "X_R2", "X", "X"),
            ("X/R1", "X/R2", "X", "X"),
            ("X_F", "X_R", "X", "X"),
            ("X.f", "X.r", "X", "X"),
            ("X_fwd", "X_rev", "X", "X"),
            ("ERR1.1 EAS139_45:5:1:2:111/1", "ERR1.1 EAS139_45:5:1:2:111/2", "ERR1.1", "ERR1.1"),
        ];
        for (one, two, stored_one, stored_two) in cases {
            assert_eq!(first_pair(one, two), Ok(()), "{one} {two}");
            let names = MateNames::of(one.as_bytes(), two.as_bytes());
            let stored = |head: &str| {
                let (name, comment) = split_head(head.as_bytes());
                String::from_utf8(names.stored(name, comment).0.to_vec()).unwrap()
            };
            assert_eq!((stored(one), stored(two)), (stored_one.into(), stored_two.into()));
        }
        let names = MateNames::of(b"K1:0_1:N:0:GC", b"K1:0_2:N:0:GC");
        assert_eq!(names.stored(b"K1:0_2:N:0:GC", b""), (&b"K1:0"[..], &b"2:N:0:GC"[..]));
    }

    #[test]
    fn wrong_mates_are_told() {
        let cases = [
            ("a/1", "a/1", Mismatch::BothFirst),
            ("a/2", "a/2", Mismatch::BothSecond),
            ("a/2", "a/1", Mismatch::Swapped),
            ("a 1:N:0:A", "a 1:N:0:A", Mismatch::BothFirst),
            ("a 2:Y:0:A", "a 2:N:0:A", Mismatch::BothSecond),
            ("a 2:N:0:A", "a 1:N:0:A", Mismatch::Swapped),
            ("a_1:N:0:A", "a_1:N:0:A", Mismatch::BothFirst),
            ("a_2:N:0:A", "a_1:N:0:A", Mismatch::Swapped),
            ("a_2", "a_1", Mismatch::Swapped),
            ("a_R2", "a_R1", Mismatch::Swapped),
            ("E.1 M:5:111/2", "E.1 M:5:111/1", Mismatch::Swapped),
            ("a", "b", Mismatch::Names),
            ("a_1", "b_2", Mismatch::Names),
            ("a1", "a2", Mismatch::Names),
        ];
        for (one, two, problem) in cases {
            assert_eq!(first_pair(one, two), Err(problem), "{one} {two}");
        }
        // Names that end in a number are not marks if they are equal, and a comment may contain fractions.
        for (one, two) in [("read_1", "read_1"), ("read.2", "read.2"), ("a part 1/1", "a part 1/1"), ("a 1/2", "a 1/2")]
        {
            assert_eq!(first_pair(one, two), Ok(()), "{one} {two}");
        }
    }

    #[test]
    fn all_pairs_follow_the_first() {
        let names = MateNames::of(b"x.1", b"x.2");
        assert_eq!(names.check(b"y.1", b"y.2"), Ok(()));
        // Files of numbered reads, one of which lacks the first: only the first pair looked right.
        assert_eq!(names.check(b"x.2", b"x.3"), Err(Mismatch::Names));
        assert_eq!(names.check(b"y_1", b"y_2"), Err(Mismatch::Names));
        assert_eq!(MateNames::Alike.check(b"y_1", b"y_2"), Err(Mismatch::Names));
        assert_eq!(MateNames::Unread.check(b"y", b"z"), Ok(()));
    }
}
