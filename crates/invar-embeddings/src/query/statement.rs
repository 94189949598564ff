//! Prepares a statement before polars' SQL sees it.

use std::ops::ControlFlow;

use polars::prelude as pl;
use sqlparser::{
    ast::{self, Expr, SelectItem, SetExpr, VisitMut, visit_expressions_mut},
    dialect::GenericDialect,
    parser::{Parser, ParserError, ParserOptions},
    tokenizer::Token,
};

use super::{cosine, mistake::Mistake};

/// One statement, parsed as in polars.
pub(super) struct Statement {
    statement: ast::Statement,
}

/// Parses the text after `WHERE`.
///
/// # Errors
/// If it is not an expression, or something follows it.
pub(super) fn check_condition(condition: &str) -> Result<(), Mistake> {
    let syntax = |error: ParserError| Mistake::Syntax(error.to_string());
    let mut parser = Parser::new(&GenericDialect).try_with_sql(condition).map_err(syntax)?;
    parser.parse_expr().map_err(syntax)?;
    let next = parser.peek_token();
    match next.token {
        Token::EOF => Ok(()),
        token => {
            let at = next.span.start;
            Err(Mistake::Syntax(format!(
                "the condition ends before {token} at Line: {}, Column: {}",
                at.line, at.column
            )))
        }
    }
}

impl Statement {
    /// # Errors
    /// If it is not SQL, or not a single statement.
    pub fn parse(sql: &str) -> Result<Self, Mistake> {
        let options = ParserOptions { trailing_commas: true, ..Default::default() };
        let parser = Parser::new(&GenericDialect).with_options(options);
        let parsed = parser.try_with_sql(sql).and_then(|mut parser| parser.parse_statements());
        let mut statements = parsed.map_err(|error| Mistake::Syntax(error.to_string()))?;
        match statements.pop() {
            Some(statement) if statements.is_empty() => Ok(Self { statement }),
            None => Err(Mistake::Said("the query is empty".into())),
            Some(_) => {
                let found = statements.len() + 1;
                Err(Mistake::Said(format!("one statement at a time, here are {found}")))
            }
        }
    }

    /// Replaces each query in parentheses that stands for a value (`length_bp > (SELECT AVG(length_bp) FROM reads)`) by
    /// that value: polars supports them only after `IN` and `EXISTS`. `value_of` runs one. Also rewrites what polars
    /// would reject or misname.
    ///
    /// # Errors
    /// The errors of `value_of`.
    pub fn fill_in(&mut self, mut value_of: impl FnMut(&str) -> Result<Expr, Mistake>) -> Result<(), Mistake> {
        // The names defined by `WITH` are visible inside, too.
        let with = match &self.statement {
            ast::Statement::Query(query) => query.with.clone(),
            _ => None,
        };
        let filled = visit_expressions_mut(&mut self.statement, |expression| {
            let Expr::Subquery(query) = expression else { return ControlFlow::Continue(()) };
            let mut query = query.clone();
            query.with = query.with.or_else(|| with.clone());
            match value_of(&query.to_string()) {
                Ok(value) => {
                    *expression = value;
                    ControlFlow::Continue(())
                }
                Err(mistake) => ControlFlow::Break(mistake),
            }
        });
        if let ControlFlow::Break(mistake) = filled {
            return Err(mistake);
        }
        let _ = visit_expressions_mut(&mut self.statement, |expression| {
            if let Expr::Array(array) = expression {
                of_one_type(&mut array.elem);
            }
            ControlFlow::<()>::Continue(())
        });
        let _ = self.statement.visit(&mut Names);
        Ok(())
    }

    pub fn to_text(&self) -> String {
        self.statement.to_string()
    }
}

/// Converts integers in a list with other numbers, `[1.5, 2]` to `[1.5, 2.0]`: a list in polars has a single type.
fn of_one_type(elements: &mut [Expr]) {
    fn digits(element: &mut Expr) -> Option<&mut String> {
        match element {
            Expr::UnaryOp { expr, .. } => digits(expr),
            Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), .. }) => Some(digits),
            _ => None,
        }
    }
    let is_whole = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if elements.iter_mut().filter_map(digits).any(|digits| !is_whole(digits)) {
        for digits in elements.iter_mut().filter_map(digits).filter(|digits| is_whole(digits)) {
            digits.push_str(".0");
        }
    }
}

/// Names columns that consist of a cosine alone, which would otherwise be named after its first argument.
struct Names;

impl ast::VisitorMut for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = &mut *query.body else { return ControlFlow::Continue(()) };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Function(call)) = item
                && call.name.to_string().eq_ignore_ascii_case(cosine::NAME)
            {
                *item = SelectItem::ExprWithAlias { expr: Expr::Function(call.clone()), alias: cosine::NAME.into() };
            }
        }
        ControlFlow::Continue(())
    }
}

/// A value as an SQL literal; `None` for types without literals, and for NaN.
pub(super) fn literal(value: &pl::AnyValue<'_>) -> Option<Expr> {
    use pl::AnyValue;
    let number = |text: String| Some(Expr::value(ast::Value::Number(text, false)));
    let float = |value: f64| value.is_finite().then(|| format!("{value:?}")).and_then(number);
    match value {
        AnyValue::Null => Some(Expr::value(ast::Value::Null)),
        AnyValue::Boolean(value) => Some(Expr::value(ast::Value::Boolean(*value))),
        AnyValue::String(text) => Some(Expr::value(ast::Value::SingleQuotedString((*text).to_owned()))),
        AnyValue::StringOwned(text) => Some(Expr::value(ast::Value::SingleQuotedString(text.to_string()))),
        AnyValue::Float32(value) => float(f64::from(*value)),
        AnyValue::Float64(value) => float(*value),
        AnyValue::List(values) | AnyValue::Array(values, _) => {
            let elem = values.iter().map(|value| literal(&value)).collect::<Option<Vec<_>>>()?;
            Some(Expr::Array(ast::Array { elem, named: false }))
        }
        value if value.is_integer() => number(value.to_string()),
        _ => None,
    }
}
