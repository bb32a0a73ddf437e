//! One scalar function: names, parameters, result type, sentence for the docs, and a kernel over whole columns.
//!
//! Arguments are checked against the parameters' [`Kind`]s; typing.rs casts them to what [`Function::arguments`] says,
//! so a kernel sees exactly those types. Calls whose arguments are all constants run the kernel on one row.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::call::Call;
use crate::plan::error::PlanError;
use millstream_engine::type_name;

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string; the kernel sees `Utf8`.
    Text,
    /// A whole number; the kernel sees `Int64`.
    Whole,
    /// Any number; the kernel sees `Float64`.
    Double,
    /// Any number, in its own type.
    Number,
    /// The kernel sees `Boolean`.
    Boolean,
    /// Bytes; the kernel sees `Binary`.
    Bytes,
    /// An array.
    List,
    /// A map.
    Map,
    /// An array or a map.
    Collection,
    /// Anything, in its own type.
    Any,
}

impl Kind {
    /// What an argument of type `given` is cast to, if it is taken at all.
    pub fn accepts(self, given: &DataType) -> Option<DataType> {
        use DataType as T;
        match (self, given) {
            (Self::Any | Self::Number, T::Null) => Some(T::Null),
            (Self::Any, other) => Some(other.clone()),
            (Self::Text, T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null) => Some(T::Utf8),
            (Self::Whole, T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Null) => Some(T::Int64),
            (Self::Number, other) if other.is_numeric() => Some(other.clone()),
            (Self::Double, T::Null) => Some(T::Float64),
            (Self::Double, other) if other.is_numeric() => Some(T::Float64),
            (Self::Boolean, T::Boolean | T::Null) => Some(T::Boolean),
            (Self::Bytes, T::Binary | T::LargeBinary | T::BinaryView | T::Null) => Some(T::Binary),
            (Self::List | Self::Collection, T::List(_)) | (Self::Map | Self::Collection, T::Map(..)) => {
                Some(given.clone())
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "STRING",
            Self::Whole => "INT",
            Self::Double | Self::Number => "NUMERIC",
            Self::Boolean => "BOOLEAN",
            Self::Bytes => "BYTES",
            Self::List => "ARRAY",
            Self::Map => "MAP",
            Self::Collection => "ARRAY or MAP",
            Self::Any => "ANY",
        }
    }
}

/// Which part of docs/functions.md lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Text,
    Math,
    Conditional,
    Json,
    Collection,
    Hash,
    Type,
    Time,
}

/// The types of a call and its constant arguments, from which a result type follows.
pub(crate) struct Given<'a> {
    pub types: &'a [DataType],
    pub constants: &'a [Option<&'a ScalarValue>],
}

impl Given<'_> {
    /// The constant string given as argument `index`.
    pub fn text(&self, index: usize) -> Option<&str> {
        match self.constants.get(index).copied().flatten()? {
            ScalarValue::Utf8(Some(text)) => Some(text),
            _ => None,
        }
    }

    /// The constant whole number given as argument `index`.
    pub fn whole(&self, index: usize) -> Option<i64> {
        let value = self.constants.get(index).copied().flatten()?;
        match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(value)) => value,
            _ => None,
        }
    }
}

type Kernel = dyn Fn(&Call<'_>) -> Result<ArrayRef> + Send + Sync;
type Remake = dyn Fn() -> Arc<ScalarUDF> + Send + Sync;
type Returns = dyn Fn(&Given<'_>) -> Option<DataType> + Send + Sync;
type Checks = dyn Fn(&Given<'_>) -> Result<(), PlanError> + Send + Sync;
type Accepts = dyn Fn(&[DataType]) -> Option<Vec<DataType>> + Send + Sync;

/// See the module's page.
pub(crate) struct Function {
    name: &'static str,
    /// Tells functions of one name apart, such as casts.
    detail: String,
    aliases: Vec<String>,
    /// `LPAD(string, length, pad)`.
    pub usage: &'static str,
    /// One sentence, for the page of functions, as is what it is about.
    pub about: &'static str,
    pub subject: Subject,
    /// Whether Flink has it.
    pub is_flinks: bool,
    required: &'static [Kind],
    optional: &'static [Kind],
    rest: Option<Kind>,
    accepts: Option<Box<Accepts>>,
    checks: Option<Box<Checks>>,
    returns: Box<Returns>,
    kernel: Box<Kernel>,
    /// Whether it has a value for all rows.
    pub never_fails: bool,
    /// Makes another one, for calls with state of their own.
    per_call: Option<(usize, Box<Remake>)>,
    signature: Signature,
}

impl Function {
    /// A function of Flink's that takes exactly `parameters` and returns `returns`.
    pub fn new(
        subject: Subject,
        name: &'static str,
        usage: &'static str,
        about: &'static str,
        parameters: &'static [Kind],
        returns: DataType,
        kernel: impl Fn(&Call<'_>) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Self {
        let any = TypeSignature::OneOf(vec![TypeSignature::VariadicAny, TypeSignature::Nullary]);
        Self {
            name,
            detail: String::new(),
            aliases: Vec::new(),
            usage,
            about,
            subject,
            is_flinks: true,
            required: parameters,
            optional: &[],
            rest: None,
            accepts: None,
            checks: None,
            returns: Box::new(move |_| Some(returns.clone())),
            kernel: Box::new(kernel),
            never_fails: false,
            per_call: None,
            signature: Signature::new(any, Volatility::Immutable),
        }
    }

    pub fn aliases(mut self, aliases: &[&str]) -> Self {
        self.aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        self
    }

    /// Apart from others of its name.
    pub fn detail(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }

    /// With parameters that may be left out.
    pub fn optional(mut self, parameters: &'static [Kind]) -> Self {
        self.optional = parameters;
        self
    }

    /// With any number of further arguments.
    pub fn rest(mut self, kind: Kind) -> Self {
        self.rest = Some(kind);
        self
    }

    /// With a result type that follows from the arguments; `None` refuses them.
    pub fn returns(
        mut self,
        returns: impl Fn(&Given<'_>) -> Option<DataType> + Send + Sync + 'static,
    ) -> Self {
        self.returns = Box::new(returns);
        self
    }

    /// With a rule of its own for what arguments are cast to, after the parameters' kinds have been checked.
    pub fn accepts(
        mut self,
        accepts: impl Fn(&[DataType]) -> Option<Vec<DataType>> + Send + Sync + 'static,
    ) -> Self {
        self.accepts = Some(Box::new(accepts));
        self
    }

    /// With a look at types and constants while planning, where a unit or pattern that is none can still be placed.
    pub fn checks(
        mut self,
        checks: impl Fn(&Given<'_>) -> Result<(), PlanError> + Send + Sync + 'static,
    ) -> Self {
        self.checks = Some(Box::new(checks));
        self
    }

    /// Has a value for all rows, so that a filter of it may be tried earlier than it is written.
    pub fn never_fails(mut self, never_fails: bool) -> Self {
        self.never_fails = never_fails;
        self
    }

    /// Gives another value each time it is called.
    pub fn volatile(mut self) -> Self {
        self.signature.volatility = Volatility::Volatile;
        self
    }

    /// Calls with at least so many arguments get a function of their own, as its kernel keeps state.
    pub fn per_call(
        mut self,
        arguments: usize,
        remake: impl Fn() -> Arc<ScalarUDF> + Send + Sync + 'static,
    ) -> Self {
        self.per_call = Some((arguments, Box::new(remake)));
        self
    }

    /// The function of its own that a call of so many arguments gets.
    pub fn of_its_own(&self, arguments: usize) -> Option<Arc<ScalarUDF>> {
        self.per_call.as_ref().filter(|(least, _)| arguments >= *least).map(|(_, remake)| remake())
    }

    /// Is none of Flink's.
    pub fn extension(mut self) -> Self {
        self.is_flinks = false;
        self
    }

    pub fn build(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }

    /// What the arguments are to be cast to.
    ///
    /// # Errors
    /// If the function does not take them.
    pub fn arguments(&self, given: &[DataType]) -> Result<Vec<DataType>, PlanError> {
        let kinds = self.required.iter().chain(self.optional).copied().chain(self.rest.into_iter().cycle());
        let most = if self.rest.is_some() { usize::MAX } else { self.required.len() + self.optional.len() };
        let taken = (self.required.len()..=most)
            .contains(&given.len())
            .then(|| kinds.zip(given).map(|(kind, given)| kind.accepts(given)).collect::<Option<Vec<_>>>())
            .flatten();
        let taken = match (taken, &self.accepts) {
            (Some(taken), Some(accepts)) => accepts(&taken),
            (taken, _) => taken,
        };
        taken.ok_or_else(|| self.refusal(given))
    }

    fn refusal(&self, given: &[DataType]) -> PlanError {
        let mut takes: Vec<String> = self.required.iter().map(|kind| kind.name().to_owned()).collect();
        takes.extend(self.optional.iter().map(|kind| format!("[{}]", kind.name())));
        takes.extend(self.rest.iter().map(|kind| format!("{}…", kind.name())));
        let given: Vec<String> = given.iter().map(type_name).collect();
        PlanError::new(format!(
            "'{}' takes ({}), not ({})",
            self.name.to_uppercase(),
            takes.join(", "),
            given.join(", ")
        ))
        .remedy(format!("write {}", self.usage))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.usage)
    }
}

// A name and its detail are one function in one compilation.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.detail == other.detail
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.detail.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let types = self.arguments(given)?;
        let constants = vec![None; types.len()];
        (self.returns)(&Given { types: &types, constants: &constants })
            .ok_or_else(|| self.refusal(given).into())
    }

    fn return_field_from_args(&self, given: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        // A whole number of the text is an INT where it fits, also before its type has been set.
        let fields: Vec<DataType> = given
            .arg_fields
            .iter()
            .zip(given.scalar_arguments)
            .map(|(field, constant)| match constant {
                Some(ScalarValue::Int64(Some(value))) if i32::try_from(*value).is_ok() => DataType::Int32,
                _ => field.data_type().clone(),
            })
            .collect();
        let types = self.arguments(&fields)?;
        let constants = Given { types: &types, constants: given.scalar_arguments };
        if let Some(checks) = &self.checks {
            checks(&constants)?;
        }
        let returns = (self.returns)(&constants);
        let returns = returns.ok_or_else(|| self.refusal(&fields))?;
        Ok(Arc::new(Field::new(self.name, returns, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = self.signature.volatility != Volatility::Volatile
            && !arguments.args.is_empty()
            && arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { arguments.number_rows };
        let call = Call { arguments: &arguments.args, rows, returns: arguments.return_field.data_type() };
        let result = (self.kernel)(&call)?;
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}
