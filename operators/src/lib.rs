//! Millstream's operators, one a file, each an [`Operator`](millstream_engine::Operator): rows in, rows out.
//!
//! They know Arrow and the engine's interface, no SQL and no connector. Expressions come in as [`expr::Expression`]s.
//! To add one, copy `union.rs` (the smallest) or `watermark.rs` (one with state), and add a line here.

pub mod aggregate;
pub mod current_watermark;
pub mod expand;
pub mod expr;
#[cfg(test)]
mod folded;
mod frozen;
pub mod group;
pub mod join;
mod kept_type;
mod keyed;
pub mod keys;
mod mini_batch;
pub mod over;
pub mod project;
pub mod recognize;
pub mod repeat;
mod row_format;
mod row_store;
mod row_text;
pub mod sort;
pub mod top;
pub mod union;
pub mod unnest;
pub mod watermark;
pub mod window;

pub use aggregate::{Accumulator, AggregateCall, AggregateFunction, AggregateKind, GroupState, PerGroup};
pub use current_watermark::CurrentWatermark;
pub use expand::{Expand, ExpandSpec, set_number};
pub use expr::{Column, Expression, ExpressionRef};
pub use group::{Group, GroupSpec};
pub use join::{AsOf, JoinKind, JoinSpec, LookupJoin, RegularJoin, TemporalJoin, TimeBounds, TimedJoin};
pub use mini_batch::MiniBatch;
pub use over::{Frame, Over, OverSpec};
pub use project::Project;
pub use recognize::{MatchRecognize, RecognizeSpec};
pub use repeat::Repeat;
pub use sort::{Sort, SortSpec};
pub use top::{SortKey, TopN, TopSpec, WindowTopN};
pub use union::Union;
pub use unnest::{Unnest, UnnestSpec, item_fields};
pub use watermark::{CutRule, WatermarkAssigner, WatermarkSpec};
pub use window::{WindowAggregateSpec, WindowAssigner};
