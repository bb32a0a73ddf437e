//! The worker's side of writing: rows become payloads under a topic of their own, and leave through the outlet.
//!
//! Invariants: every row written is in exactly one message, or with the dead letters if it has no topic; a barrier
//! passes, and the end is reached, when the broker has acknowledged all before it (or they are with the dead letters),
//! so there is no state to keep; with an outbox (handover.rs), when all before it is safe there. What comes before the format can encode (its schema is still to be registered) is held,
//! and the sink not ready; without rows it ends all the same.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, StringArray};
use arrow_cast::cast;
use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::registry::Table;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, ChangeKind, Codec, Encoder, Error, InstanceContext, Ready, Result, Sink};

use super::client_id::ClientId;
use super::handover::Handover;
use super::headers::Headers;
use super::packets::Publication;
use super::publish::Sending;
use super::topic::{Template, column_of, wrong_column};

/// What a table that is written to says.
pub(super) struct Writing {
    pub sending: Arc<Sending>,
    pub template: Template,
    /// The template's columns in the table.
    pub columns: Vec<usize>,
    pub codec: Arc<dyn Codec>,
    /// Whether the broker keeps messages whose row does not say.
    pub retain: bool,
    pub headers: Headers,
    /// The columns of the payload.
    pub payload_columns: Vec<usize>,
    pub payload_schema: SchemaRef,
}

/// The columns that `template` names, checked once for the table.
pub(super) fn template_columns(table: &Table, template: &Template) -> Result<Vec<usize>> {
    let find = |name: &String| {
        let column = column_of(table, name, "")?;
        match table.schema.field(column).data_type() {
            DataType::Utf8 | DataType::Boolean => Ok(column),
            kind if kind.is_integer() => Ok(column),
            _ => Err(wrong_column(table, name, "names a column that has no one form as text")
                .remedy("declare it STRING, and CAST or DATE_FORMAT it in the query")),
        }
    };
    template.columns.iter().map(find).collect()
}

/// One instance of an MQTT sink.
pub(super) struct MqttSink {
    writing: Arc<Writing>,
    encoder: Box<dyn Encoder>,
    running: Option<Running>,
}

/// What there is once the sink is open.
struct Running {
    handover: Handover,
    errors: RowErrors,
    /// What cannot be encoded yet: one batch, since the sink is not ready for more.
    held: Vec<Batch>,
    _client_id: ClientId,
}

impl MqttSink {
    /// A sink that is still to be opened.
    ///
    /// # Errors
    /// If the format cannot encode the columns.
    pub fn new(writing: Arc<Writing>) -> Result<Self> {
        let encoder = writing.codec.encoder(Arc::clone(&writing.payload_schema))?;
        Ok(Self { writing, encoder, running: None })
    }

    fn running(&self) -> Result<&Running> {
        self.running.as_ref().ok_or_else(|| Error::internal("the MQTT sink was not opened"))
    }

    fn running_mut(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| Error::internal("the MQTT sink was not opened"))
    }

    /// Sends what was held, if it can be encoded by now. True when nothing is held any more.
    fn release(&mut self) -> Result<bool> {
        let Some(running) = &mut self.running else { return Ok(true) };
        if running.held.is_empty() {
            return Ok(true);
        }
        if !running.handover.is_prepared() {
            running.handover.check()?;
            return Ok(false);
        }
        std::mem::take(&mut running.held).iter().try_for_each(|batch| self.send(batch))?;
        Ok(true)
    }

    fn send(&mut self, batch: &Batch) -> Result<()> {
        if self.writing.payload_columns.len() == batch.rows.num_columns() {
            self.encoder.encode(batch)?;
        } else {
            self.encoder.encode(&Batch::new(batch.rows.project(&self.writing.payload_columns)?))?;
        }
        let messages = self.messages(batch, &self.running()?.errors)?;
        let handover = &mut self.running_mut()?.handover;
        if messages.is_empty() { handover.check() } else { handover.send(messages) }
    }

    /// The rows as messages, all in one buffer.
    fn messages(&self, batch: &Batch, errors: &RowErrors) -> Result<Vec<Publication>> {
        let texts = self
            .writing
            .columns
            .iter()
            .map(|column| Ok(cast(batch.rows.column(*column), &DataType::Utf8)?))
            .collect::<Result<Vec<_>>>()?;
        let texts: Vec<&StringArray> = texts.iter().map(|column| column.as_string::<i32>()).collect();
        let headers = self.writing.headers.columns(&batch.rows);
        let (mut buffer, mut ends) = (Vec::new(), Vec::new());
        let mut topic = String::new();
        for (row, payload) in self.encoder.encoded().rows().enumerate() {
            topic.clear();
            let value = |column: usize| {
                texts.get(column).filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row))
            };
            let filled = self.writing.template.fill(&mut topic, value);
            let properties = match filled.and_then(|()| headers.properties(row)) {
                Ok(properties) => properties,
                Err(error) => {
                    errors.reject(payload, error)?;
                    continue;
                }
            };
            let retain = headers.retain(row).unwrap_or(self.writing.retain);
            buffer.extend_from_slice(topic.as_bytes());
            let middle = buffer.len();
            buffer.extend_from_slice(payload);
            ends.push((middle, buffer.len(), retain, properties));
        }
        let (buffer, mut start) = (Bytes::from(buffer), 0);
        let messages = ends.into_iter().map(|(middle, end, retain, properties)| {
            let (topic, payload) = (buffer.slice(start..middle), buffer.slice(middle..end));
            start = end;
            Publication { topic, payload, retain, properties }
        });
        Ok(messages.collect())
    }
}

impl Sink for MqttSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let link = &self.writing.sending.link;
        let client_id = match &link.client_id {
            Some(given) => ClientId::given(given),
            None => {
                let what = format!("write {} {}", link.broker_names(), self.writing.template);
                ClientId::derived(&context.job, &link.table, &what)
            }
        };
        let handover = Handover::start(Arc::clone(&self.writing.sending), &client_id.text, context)?;
        let errors = context.row_errors(link.on_error);
        self.running = Some(Running { handover, errors, held: Vec::new(), _client_id: client_id });
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        if batch.changes.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != ChangeKind::Insert)) {
            let table = &self.writing.sending.link.table;
            return Err(Error::internal("an MQTT topic was given rows that update others").at(table));
        }
        self.release()?;
        match &mut self.running {
            Some(running) if !running.handover.is_prepared() => {
                running.held.push(batch);
                Ok(())
            }
            _ => self.send(&batch),
        }
    }

    fn is_ready(&self) -> bool {
        // After a failure the outlet is empty, so that the next write, which reports it, is not kept out.
        self.running.as_ref().is_some_and(|Running { handover, held, .. }| {
            handover.is_ready() && (held.is_empty() || handover.is_prepared())
        })
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.release()?;
        self.running()?.handover.check()
    }

    fn wants_checkpoint(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.handover.wants_checkpoint())
    }

    fn attend(&mut self) -> Result<()> {
        match &mut self.running {
            Some(Running { handover, errors, .. }) => handover.attend(errors),
            None => Ok(()),
        }
    }

    fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        if !self.release()? {
            return Ok(Ready::NotYet);
        }
        let Running { handover, errors, .. } = self.running_mut()?;
        handover.on_barrier(epoch, state, errors)
    }

    fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        self.running_mut()?.handover.on_checkpoint_complete(epoch)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.running_mut()?.handover.restore(state)
    }

    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        if !self.release()? {
            return Ok(Ready::NotYet);
        }
        let Running { handover, errors, .. } = self.running_mut()?;
        handover.on_end(epoch, state, errors)
    }

    fn is_committed(&self) -> Result<bool> {
        // Asked of a job that is suspended, too, which has no other end.
        self.running()?.handover.ends_well();
        Ok(true)
    }
}
