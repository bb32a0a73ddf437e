//! The pattern as it is written, `A B{2,3}? C` WITHIN an interval, as the operator's variables.

use millstream_operators::recognize::{Quantifier, Variable};
use sqlparser::ast::{self, MatchRecognizePattern, MatchRecognizeSymbol, RepetitionQuantifier, Spanned};
use sqlparser::tokenizer::Span;

use crate::plan::error::PlanError;
use crate::plan::intervals::{Interval, interval};

/// The milliseconds of WITHIN.
pub(super) fn within_ms(expr: &ast::Expr) -> Result<i64, PlanError> {
    let wrong = || {
        PlanError::at("WITHIN takes an interval of milliseconds to days", expr.span())
            .remedy("write WITHIN INTERVAL '10' SECOND")
    };
    match expr {
        ast::Expr::Interval(literal) => match interval(literal)? {
            Interval::Ms(ms) if ms > 0 => Ok(ms),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// Where a pattern begins.
pub(super) fn pattern_place(pattern: &MatchRecognizePattern, otherwise: Span) -> Span {
    match pattern {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => name.span,
        MatchRecognizePattern::Repetition(inner, _) | MatchRecognizePattern::Group(inner) => {
            pattern_place(inner, otherwise)
        }
        MatchRecognizePattern::Concat(parts) => {
            parts.first().map_or(otherwise, |part| pattern_place(part, otherwise))
        }
        _ => otherwise,
    }
}

/// The variables of a pattern, in order.
pub(super) fn variables(pattern: &MatchRecognizePattern, place: Span) -> Result<Vec<Variable>, PlanError> {
    let refuse =
        |what: &str, remedy: &str| Err(PlanError::at(what, pattern_place(pattern, place)).remedy(remedy));
    match pattern {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => {
            Ok(vec![Variable { name: name.value.clone(), quantifier: Quantifier::ONE }])
        }
        MatchRecognizePattern::Symbol(_) => {
            refuse("^ and $ make no sense in a stream, which has no end", "leave them out")
        }
        MatchRecognizePattern::Concat(parts) => {
            let parts = parts.iter().map(|part| variables(part, place)).collect::<Result<Vec<_>, _>>()?;
            Ok(parts.concat())
        }
        MatchRecognizePattern::Group(inner) => variables(inner, place),
        MatchRecognizePattern::Repetition(inner, quantifier) => {
            let (symbol, quantifier, greedy) = match (inner.as_ref(), quantifier) {
                // `A*?` is read as `A*` that may be left out.
                (MatchRecognizePattern::Repetition(symbol, inner), RepetitionQuantifier::AtMostOne) => {
                    (symbol.as_ref(), inner, false)
                }
                (symbol, quantifier) => (symbol, quantifier, true),
            };
            let MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) = symbol else {
                return refuse(
                    "a quantifier belongs to one variable",
                    "write out what repeats, or match it in a query of its own",
                );
            };
            let (least, most) = match *quantifier {
                RepetitionQuantifier::ZeroOrMore => (0, None),
                RepetitionQuantifier::OneOrMore => (1, None),
                RepetitionQuantifier::AtMostOne => (0, Some(1)),
                RepetitionQuantifier::Exactly(rows) => (rows, Some(rows)),
                RepetitionQuantifier::AtLeast(rows) => (rows, None),
                RepetitionQuantifier::AtMost(rows) => (0, Some(rows)),
                RepetitionQuantifier::Range(least, most) => (least, Some(most)),
            };
            let quantifier = Quantifier { least, most, greedy };
            Ok(vec![Variable { name: name.value.clone(), quantifier }])
        }
        MatchRecognizePattern::Alternation(_) => refuse(
            "| is not supported in a pattern",
            "put the alternatives into a definition: B AS B.x = 1 OR B.x = 2",
        ),
        MatchRecognizePattern::Permute(_) => {
            refuse("PERMUTE is not supported", "write one query for each order, put together with UNION ALL")
        }
        MatchRecognizePattern::Exclude(_) => refuse(
            "{- -} excludes rows from ALL ROWS PER MATCH, which is not supported",
            "leave it out of MEASURES",
        ),
    }
}
