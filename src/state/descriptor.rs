//! State descriptors: the name, type and version under which an operator's state is saved.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A type that can be the value of keyed state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as state",
    note = "a state value derives `Serialize`, `Deserialize` and `Clone`, and owns its data",
    note = "it is written to every checkpoint, so it must be able to leave the process"
)]
pub trait StateValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> StateValue for T {}

/// Describes a value state: one value for each key, absent until first set.
#[derive(Debug, Clone)]
pub struct ValueStateDescriptor<V> {
    name: String,
    version: u16,
    value: std::marker::PhantomData<fn() -> V>,
}

impl<V> ValueStateDescriptor<V> {
    /// A value state called `name`, unique within its operator; version 1.
    pub fn new(name: impl Into<String>) -> Self
    where
        V: StateValue,
    {
        Self { name: name.into(), version: 1, value: std::marker::PhantomData }
    }

    /// Sets the version of the value's schema. A checkpoint of another version is refused at restore.
    #[must_use]
    pub fn version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// The name the state is saved under.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn schema(&self) -> StateSchema {
        StateSchema {
            name: self.name.clone(),
            kind: StateKind::Value,
            type_name: std::any::type_name::<V>().to_owned(),
            version: self.version,
        }
    }
}

/// What a checkpoint records of one named state; compared with the descriptor at restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateSchema {
    pub(crate) name: String,
    pub(crate) kind: StateKind,
    /// Rust's name of the value type.
    pub(crate) type_name: String,
    pub(crate) version: u16,
}

/// The primitive a named state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StateKind {
    Value,
}
