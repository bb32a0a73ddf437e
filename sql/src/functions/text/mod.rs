//! Functions of strings. A character is a Unicode code point everywhere, as in Flink's own string type.

mod encoding;
mod extract;
mod map;
mod pattern;
mod pieces;
mod printf;
mod search;
mod shape;
mod similar;
mod url;

use std::sync::Arc;

use datafusion_expr::ScalarUDF;

pub(super) use encoding::push_hex;
pub(super) use pattern::{ByRow, Compiled, like, similar_to};
pub(super) use similar::java_regex;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        shape::functions(),
        search::functions(),
        pieces::functions(),
        pattern::functions(),
        extract::functions(),
        encoding::functions(),
        url::functions(),
        map::functions(),
        printf::functions(),
    ]
    .concat()
}
