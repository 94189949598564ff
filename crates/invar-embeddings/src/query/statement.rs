//! A statement before the SQL of polars sees it.

use std::ops::ControlFlow;

use polars::prelude as pl;
use sqlparser::{
    ast::{self, Expr, SelectItem, SetExpr, VisitMut, visit_expressions_mut},
    dialect::GenericDialect,
    parser::{Parser, ParserError, ParserOptions},
    tokenizer::Token,
};

use super::{cosine, mistake::Mistake};

/// One statement, parsed as polars does.
pub(super) struct Statement {
    statement: ast::Statement,
}

/// Parses what stands after `WHERE`.
///
/// # Errors
/// When it is no expression, or something follows it.
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
    /// When it is no SQL, or not one statement.
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

    /// Puts the value of each query in parentheses that stands for one (`length_bp > (SELECT AVG(length_bp) FROM reads)`) in its
    /// place: polars knows them after `IN` and `EXISTS` only. `value_of` runs one. Also makes what polars would stumble over or
    /// misname what it is meant to be.
    ///
    /// # Errors
    /// Whatever `value_of` finds.
    pub fn fill_in(&mut self, mut value_of: impl FnMut(&str) -> Result<Expr, Mistake>) -> Result<(), Mistake> {
        // The names that `WITH` gives are known inside, too.
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

/// Writes whole numbers beside others as those, `[1.5, 2]` as `[1.5, 2.0]`: a list of polars is of one type.
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

/// Names columns that are nothing but a cosine, which would be called after its first argument.
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

/// A value as it is written in SQL; `None` of types that are not, and of what is no number.
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
