//! What is wrong with a query, and where: the word in it, and the name that was probably meant.

use std::ops::Range;

use polars::prelude as pl;
use sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Location, Token, Tokenizer},
};

use super::{FIRST, NamedTable};
use crate::EmbeddingsError;

/// What went wrong with a query.
pub(super) enum Mistake {
    /// The parser's message.
    Syntax(String),
    /// The error from polars.
    Told(pl::PolarsError),
    /// Our own message.
    Said(String),
}

/// Similarity above which a name may have been meant.
const ALIKE: f64 = 0.5;
/// Maximum number of names listed in an error.
const MAX_LISTED: usize = 20;

impl Mistake {
    /// Adds the place in the query, and the most similar existing name.
    pub fn in_query(self, sql: &str, tables: &[NamedTable]) -> EmbeddingsError {
        let of_tables: Vec<&str> = tables.iter().map(|table| table.name.as_str()).chain([FIRST]).collect();
        let (reason, word) = match self {
            Self::Said(reason) => (reason, None),
            Self::Syntax(told) => {
                let (reason, at) = place(told.trim_start_matches("sql parser error: "), sql);
                (lower(reason), at)
            }
            Self::Told(told) => {
                let reason = first_line(&told);
                let name = quoted(&reason).unwrap_or_default();
                let reason = if ["unable to find column", "no column named"].iter().any(|words| reason.contains(words))
                {
                    let mut names: Vec<&str> =
                        tables.iter().flat_map(|table| &table.columns).map(String::as_str).collect();
                    names.sort_unstable();
                    names.dedup();
                    format!("no column {name:?}{}", meant(&name, &names, "columns"))
                } else if reason.contains("relation") || reason.contains("no table or alias") {
                    format!("no table {name:?}{}", meant(&name, &of_tables, "tables"))
                } else if reason.contains("fits into 2^32") {
                    "a join of more than 4,294,967,295 rows".into()
                } else {
                    reason
                };
                (reason, find(sql, &name))
            }
        };
        EmbeddingsError::Sql { reason, sql: sql.into(), word }
    }
}

/// The first line of polars' message: the rest is its query plan.
fn first_line(error: &pl::PolarsError) -> String {
    let told = match error {
        pl::PolarsError::Context { error, .. } => return first_line(error),
        pl::PolarsError::SQLInterface(told) | pl::PolarsError::SQLSyntax(told) => told.to_string(),
        pl::PolarsError::InvalidOperation(told) | pl::PolarsError::ComputeError(told) => told.to_string(),
        other => other.to_string(),
    };
    told.lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The quoted name at the beginning of a text.
fn quoted(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(['"', '\''])?;
    let (name, _) = rest.split_once(['"', '\''])?;
    Some(name.to_owned())
}

/// The most similar existing name, or all of them.
fn meant(name: &str, names: &[&str], what: &str) -> String {
    let likeness = |other: &str| strsim::normalized_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    let near = names.iter().map(|other| (likeness(other), other)).max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((alike, near)) if alike >= ALIKE => format!("; the nearest is {near:?}"),
        _ if names.is_empty() => String::new(),
        _ => {
            let more = if names.len() > MAX_LISTED { ", ..." } else { "" };
            let shown: Vec<&str> = names.iter().take(MAX_LISTED).copied().collect();
            format!("; {what}: {}{more}", shown.join(", "))
        }
    }
}

/// Splits off the parser's position: `... at Line: 1, Column: 8`.
fn place<'a>(told: &'a str, sql: &str) -> (&'a str, Option<Range<usize>>) {
    let Some((reason, at)) = told.rsplit_once(" at Line: ") else {
        // The query ends too early.
        let end = sql.trim_end().len();
        return (told, told.ends_with("EOF").then_some(end..end));
    };
    let location = at.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    let start = location.and_then(|location| offset(sql, location));
    let token = start.map(|start| {
        let rest = &sql[start..];
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        start..start + word.max(rest.chars().next().map_or(0, char::len_utf8))
    });
    (reason, token)
}

/// The byte range of the first word of the query that matches the name. Names from polars may be prefixed with a
/// table's.
fn find(sql: &str, name: &str) -> Option<Range<usize>> {
    let tokens = Tokenizer::new(&GenericDialect, sql).tokenize_with_location().ok()?;
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_it = |text: &str| text.eq_ignore_ascii_case(last);
    let token = tokens.iter().find(|token| match &token.token {
        Token::Word(word) => is_it(&word.value),
        Token::SingleQuotedString(text) => is_it(text),
        _ => false,
    })?;
    Some(offset(sql, token.span.start)?..offset(sql, token.span.end)?)
}

/// The byte offset of a position given in lines and characters, both 1-based.
fn offset(sql: &str, at: Location) -> Option<usize> {
    let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
    let start = if line == 0 { 0 } else { sql.match_indices('\n').nth(line - 1)?.0 + 1 };
    let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let rest = &sql[start..];
    Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at))
}
