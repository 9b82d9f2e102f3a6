//! State descriptors: the name, type and version under which an operator's state is saved.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::ttl::StateTtl;

/// A type that can be the value of keyed state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as state",
    note = "a state value derives `Serialize`, `Deserialize` and `Clone`, and owns its data",
    note = "it is written to every checkpoint, so it must be able to leave the process"
)]
pub trait StateValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> StateValue for T {}

/// Folds readings into an accumulator.
pub trait AggregateFunction: Clone + Send + 'static {
    /// What is added.
    type In;
    /// What is kept as state.
    type Accumulator: StateValue;
    /// What is read.
    type Out;

    /// The accumulator of nothing.
    fn create(&self) -> Self::Accumulator;

    /// Adds one input.
    fn add(&self, accumulator: &mut Self::Accumulator, input: Self::In);

    /// What the accumulator stands for.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Out;
}

/// What all descriptors have in common; `V` is the type of the value, element, map value or accumulator.
pub(crate) struct Common<V> {
    pub(crate) name: String,
    pub(crate) version: u16,
    pub(crate) ttl: Option<StateTtl>,
    pub(crate) migrations: Migrations<V>,
    /// Takes the place of the type's name in the schema.
    description: Option<String>,
}

impl<V> Clone for Common<V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            version: self.version,
            ttl: self.ttl,
            migrations: self.migrations.clone(),
            description: self.description.clone(),
        }
    }
}

impl<V> Common<V> {
    fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: 1,
            ttl: None,
            migrations: Migrations::default(),
            description: None,
        }
    }

    fn schema(&self, kind: StateKind, type_name: String) -> StateSchema {
        StateSchema {
            name: self.name.clone(),
            kind,
            type_name: self.description.clone().unwrap_or(type_name),
            version: self.version,
            has_ttl: self.ttl.is_some(),
        }
    }
}

type Decode<V> = Arc<dyn Fn(&[u8]) -> Result<V, postcard::Error> + Send + Sync>;

/// How values of older versions become values of this one.
pub(crate) struct Migrations<V> {
    steps: Vec<(u16, &'static str, Decode<V>)>,
}

impl<V> Default for Migrations<V> {
    fn default() -> Self {
        Self { steps: Vec::new() }
    }
}

impl<V> Clone for Migrations<V> {
    fn clone(&self) -> Self {
        Self { steps: self.steps.clone() }
    }
}

impl<V> Migrations<V> {
    fn add<Old: StateValue>(&mut self, from: u16, migrate: impl Fn(Old) -> V + Send + Sync + 'static) {
        let decode: Decode<V> = Arc::new(move |bytes| postcard::from_bytes::<Old>(bytes).map(&migrate));
        self.steps.retain(|(version, _, _)| *version != from);
        self.steps.push((from, std::any::type_name::<Old>(), decode));
    }

    /// Versions that can be read besides the current one, with the type each had.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (u16, &'static str)> {
        self.steps.iter().map(|(version, type_name, _)| (*version, *type_name))
    }

    /// The decoder of values saved as `version`, where there is a migration from it.
    pub(crate) fn decoder(&self, version: u16) -> Option<&Decode<V>> {
        self.steps.iter().find(|(from, _, _)| *from == version).map(|(_, _, decode)| decode)
    }
}

macro_rules! common_settings {
    ($descriptor:ident<$($parameter:ident),+>, $value:ty $(, where $($bound:tt)+)?) => {
        impl<$($parameter),+> $descriptor<$($parameter),+> $(where $($bound)+)? {
            /// Sets the version of the value's schema; 1 unless told. Another version in a checkpoint is refused at
            /// restore unless a migration from it is registered.
            #[must_use]
            pub fn version(mut self, version: u16) -> Self {
                self.common.version = version;
                self
            }

            /// Lets values expire.
            #[must_use]
            pub fn ttl(mut self, ttl: StateTtl) -> Self {
                self.common.ttl = Some(ttl);
                self
            }

            /// Reads values that were saved as version `from`, of type `Old`, by `migrate`.
            #[must_use]
            pub fn migrate_from<Old: StateValue>(
                mut self,
                from: u16,
                migrate: impl Fn(Old) -> $value + Send + Sync + 'static,
            ) -> Self {
                self.common.migrations.add(from, migrate);
                self
            }

            /// The name the state is saved under.
            pub fn name(&self) -> &str {
                &self.common.name
            }
        }

        impl<$($parameter),+> fmt::Debug for $descriptor<$($parameter),+> $(where $($bound)+)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($descriptor))
                    .field("name", &self.common.name)
                    .field("version", &self.common.version)
                    .field("ttl", &self.common.ttl)
                    .finish_non_exhaustive()
            }
        }
    };
}

/// Describes a value state: one value for each key, absent until first set.
pub struct ValueStateDescriptor<V> {
    pub(crate) common: Common<V>,
    pub(crate) default: Option<V>,
}

common_settings!(ValueStateDescriptor<V>, V);

impl<V: Clone> Clone for ValueStateDescriptor<V> {
    fn clone(&self) -> Self {
        Self { common: self.common.clone(), default: self.default.clone() }
    }
}

impl<V: StateValue> ValueStateDescriptor<V> {
    /// A value state called `name`, unique within its operator.
    pub fn new(name: impl Into<String>) -> Self {
        Self { common: Common::new(name), default: None }
    }

    /// What a key without a value reads: each key gets a copy of its own.
    #[must_use]
    pub fn default_value(mut self, default: V) -> Self {
        self.default = Some(default);
        self
    }

    /// Has `description` stand for the type in what is saved: a state that is saved with another one is refused.
    #[must_use]
    pub(crate) fn described_as(mut self, description: String) -> Self {
        self.common.description = Some(description);
        self
    }

    pub(crate) fn schema(&self) -> StateSchema {
        self.common.schema(StateKind::Value, type_name::<V>())
    }
}

/// Describes a list state: a list of elements for each key.
pub struct ListStateDescriptor<V> {
    pub(crate) common: Common<V>,
}

common_settings!(ListStateDescriptor<V>, V);

impl<V> Clone for ListStateDescriptor<V> {
    fn clone(&self) -> Self {
        Self { common: self.common.clone() }
    }
}

impl<V: StateValue> ListStateDescriptor<V> {
    /// A list state called `name`, unique within its operator.
    pub fn new(name: impl Into<String>) -> Self {
        Self { common: Common::new(name) }
    }

    pub(crate) fn schema(&self) -> StateSchema {
        self.common.schema(StateKind::List, type_name::<V>())
    }
}

/// Describes a map state: a map for each key, iterated in the order of the map keys' encoded form.
pub struct MapStateDescriptor<M, V> {
    pub(crate) common: Common<V>,
    map_key: std::marker::PhantomData<fn() -> M>,
}

common_settings!(MapStateDescriptor<M, V>, V);

impl<M, V> Clone for MapStateDescriptor<M, V> {
    fn clone(&self) -> Self {
        Self { common: self.common.clone(), map_key: std::marker::PhantomData }
    }
}

impl<M: Key, V: StateValue> MapStateDescriptor<M, V> {
    /// A map state called `name`, unique within its operator.
    pub fn new(name: impl Into<String>) -> Self {
        Self { common: Common::new(name), map_key: std::marker::PhantomData }
    }

    pub(crate) fn schema(&self) -> StateSchema {
        let mut schema = self.common.schema(StateKind::Map, type_name::<V>());
        schema.type_name = format!("{} to {}", type_name::<M>(), schema.type_name);
        schema
    }
}

/// Two values into one, kept by a [`ReducingStateDescriptor`].
pub(crate) type Reduce<V> = Arc<dyn Fn(V, V) -> V + Send + Sync>;

/// Describes a reducing state: one value for each key, into which each added one is reduced.
pub struct ReducingStateDescriptor<V> {
    pub(crate) common: Common<V>,
    pub(crate) reduce: Reduce<V>,
}

common_settings!(ReducingStateDescriptor<V>, V);

impl<V> Clone for ReducingStateDescriptor<V> {
    fn clone(&self) -> Self {
        Self { common: self.common.clone(), reduce: Arc::clone(&self.reduce) }
    }
}

impl<V: StateValue> ReducingStateDescriptor<V> {
    /// A reducing state called `name`, unique within its operator. `reduce` gets what is kept and what is added.
    pub fn new(name: impl Into<String>, reduce: impl Fn(V, V) -> V + Send + Sync + 'static) -> Self {
        Self { common: Common::new(name), reduce: Arc::new(reduce) }
    }

    pub(crate) fn schema(&self) -> StateSchema {
        self.common.schema(StateKind::Reducing, type_name::<V>())
    }
}

/// Describes an aggregating state: one accumulator for each key.
pub struct AggregatingStateDescriptor<A>
where
    A: AggregateFunction,
{
    pub(crate) common: Common<A::Accumulator>,
    pub(crate) function: A,
}

common_settings!(AggregatingStateDescriptor<A>, A::Accumulator, where A: AggregateFunction);

impl<A: AggregateFunction> Clone for AggregatingStateDescriptor<A> {
    fn clone(&self) -> Self {
        Self { common: self.common.clone(), function: self.function.clone() }
    }
}

impl<A: AggregateFunction> AggregatingStateDescriptor<A> {
    /// An aggregating state called `name`, unique within its operator.
    pub fn new(name: impl Into<String>, function: A) -> Self {
        Self { common: Common::new(name), function }
    }

    pub(crate) fn schema(&self) -> StateSchema {
        self.common.schema(StateKind::Aggregating, type_name::<A::Accumulator>())
    }
}

fn type_name<V>() -> String {
    std::any::type_name::<V>().to_owned()
}

/// What a checkpoint records of one named state; compared with the descriptor at restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateSchema {
    pub(crate) name: String,
    pub(crate) kind: StateKind,
    /// Rust's name of the value type; of a map, of both types.
    pub(crate) type_name: String,
    pub(crate) version: u16,
    /// Whether values carry the time of their last update.
    pub(crate) has_ttl: bool,
}

impl fmt::Display for StateSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} state of {} version {}", self.kind.name(), self.type_name, self.version)
    }
}

/// The primitive a named state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StateKind {
    Value,
    List,
    Map,
    Reducing,
    Aggregating,
}

impl StateKind {
    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
        }
    }
}
