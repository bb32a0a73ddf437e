//! JSON in strings: looked up by paths, tested, and made.
//!
//! A text is read into nodes that point into it (document.rs), a path into steps (path.rs, filter.rs); evaluate.rs goes
//! along the steps, write.rs and number.rs write what is found as Java's libraries do, encode.rs values of columns. value.rs,
//! query.rs, construct.rs, aggregate.rs and quote.rs are the functions.

mod aggregate;
mod construct;
mod document;
mod encode;
mod evaluate;
mod filter;
mod look;
mod number;
mod path;
mod query;
mod quote;
mod value;
mod write;

use std::sync::Arc;

use datafusion_expr::ScalarUDF;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let parts = [
        value::functions(),
        query::functions(),
        construct::functions(),
        aggregate::functions(),
        quote::functions(),
    ];
    parts.concat()
}
