//! The contigs of a FASTA file, one after the other.

use std::path::Path;

use invar_dataset::manifest::Input;

use crate::{Error, error::Place, stored::Lines};

/// A contig as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Line of its header, 1-based.
    pub line: u64,
    /// The first word of the header.
    pub name: String,
    /// The rest of the header.
    pub description: String,
    /// Its letters, of all lines.
    pub letters: Vec<u8>,
}

impl Entry {
    /// The contig in `path`.
    pub fn place(&self, path: &Path) -> Place {
        Place::line(path, self.line).named(&self.name)
    }
}

/// A FASTA file, being read.
pub(crate) struct Fasta {
    lines: Lines,
    /// Header of the next entry.
    next: Option<(u64, String)>,
}

impl Fasta {
    /// Reads up to the first header.
    ///
    /// # Errors
    /// If it cannot be read, or begins with something else.
    pub fn new(mut lines: Lines) -> Result<Self, Error> {
        let next = lines.next_text()?;
        if let Some((line, text)) = &next
            && !text.starts_with('>')
        {
            let found = format!("{:?}", text.chars().take(30).collect::<String>());
            return Err(Error::bad(Place::line(lines.path(), *line), "first line", "a FASTA header (`>`)", found));
        }
        Ok(Self { lines, next })
    }

    /// The next contig, into `entry`; false at the end.
    ///
    /// # Errors
    /// If it cannot be read, or has no name.
    pub fn next(&mut self, entry: &mut Entry) -> Result<bool, Error> {
        let Some((line, header)) = self.next.take() else { return Ok(false) };
        let (name, description) = split_head(&header[1..]);
        if name.is_empty() {
            return Err(Error::bad(Place::line(self.lines.path(), line), "header", "a name after `>`", "none"));
        }
        (entry.line, entry.name, entry.description) = (line, name.into(), description.into());
        entry.letters.clear();
        loop {
            let Some(line) = self.lines.next_line()? else { return Ok(true) };
            if line.first() == Some(&b'>') {
                let text = std::str::from_utf8(line).map(str::to_owned);
                let text = text.map_err(|error| Error::bad(self.lines.place(), "header", "UTF-8", error))?;
                self.next = Some((self.lines.place().line.unwrap_or(0), text));
                return Ok(true);
            }
            entry.letters.extend(line.iter().filter(|letter| !letter.is_ascii_whitespace()));
        }
    }

    /// The file as listed in the manifest.
    pub fn finish(self) -> Result<Input, Error> {
        self.lines.finish()
    }
}

/// The first word of a header, and the rest.
fn split_head(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(name, rest)| (name, rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<Vec<Entry>, Error> {
        let mut fasta = Fasta::new(Lines::of_bytes("x.fa", text.as_bytes()))?;
        let (mut all, mut entry) = (vec![], Entry::default());
        while fasta.next(&mut entry)? {
            all.push(entry.clone());
        }
        Ok(all)
    }

    #[test]
    fn lines_of_a_contig_are_joined() {
        let all = entries("\n>a  flag=1 len=6 \r\nACG\r\n\r\nTN A\r\n>b\n>c\tx\nGG").unwrap();
        let short: Vec<_> = all.iter().map(|e| (e.line, &*e.name, &*e.description, e.letters.as_slice())).collect();
        let expected: [(u64, &str, &str, &[u8]); 3] =
            [(2, "a", "flag=1 len=6", b"ACGTNA"), (6, "b", "", b""), (7, "c", "x", b"GG")];
        assert_eq!(short, expected);
        assert_eq!(entries("").unwrap(), []);
    }

    #[test]
    fn what_is_no_fasta_is_refused() {
        let error = |text| entries(text).unwrap_err().to_string();
        assert_eq!(error("@r1\nACGT"), r#"x.fa, line 1: first line: expected a FASTA header (`>`), found "@r1""#);
        assert_eq!(error(">a\nAC\n> \nA"), "x.fa, line 3: header: expected a name after `>`, found none");
    }
}
