//! The registry: where an operator declares its named states while it opens.

use std::cell::RefCell;
use std::rc::Rc;

use super::cell::{Cell, List, Map, Single};
use super::column::{Cells, Column, StateColumn};
use super::descriptor::{
    AggregateFunction, AggregatingStateDescriptor, Common, ListStateDescriptor, MapStateDescriptor,
    ReducingStateDescriptor, StateSchema, StateValue, ValueStateDescriptor,
};
use super::error::StateError;
use super::heap_size::PointsTo;
use super::key::Key;
use super::list::ListState;
use super::list_state::{Lists, OperatorListDescriptor, OperatorListState};
use super::map::MapState;
use super::rows::Rows;
use super::ttl::StateTtl;
use super::value::{AggregatingState, ReducingState, ValueState};

/// Declares an operator's named states while it opens.
pub struct StateRegistry {
    pub(crate) operator: String,
    group_count: usize,
    pub(crate) rows: Rc<Rows>,
    pub(crate) columns: Vec<Rc<RefCell<dyn StateColumn>>>,
    pub(crate) schemas: Vec<StateSchema>,
    pub(crate) ttls: Vec<Option<StateTtl>>,
    pub(crate) lists: Lists,
}

impl std::fmt::Debug for StateRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateRegistry")
            .field("operator", &self.operator)
            .field("states", &self.schemas)
            .finish_non_exhaustive()
    }
}

impl StateRegistry {
    pub(crate) fn new(operator: String, group_count: usize, is_cache: bool) -> Self {
        Self {
            operator,
            group_count,
            rows: Rc::new(Rows::new(group_count, is_cache)),
            columns: Vec::new(),
            schemas: Vec::new(),
            ttls: Vec::new(),
            lists: Lists::default(),
        }
    }

    /// A handle to the value state `descriptor` names, of the key at hand.
    ///
    /// # Errors
    /// [`StateError::DuplicateName`] when the operator declared the name before.
    pub fn value<V: StateValue>(
        &mut self,
        descriptor: &ValueStateDescriptor<V>,
    ) -> Result<ValueState<V>, StateError> {
        let cells = self.declare::<Single<V>>(descriptor.schema(), &descriptor.common)?;
        Ok(ValueState::new(cells, descriptor.default.clone()))
    }

    /// A handle to the list state `descriptor` names, of the key at hand.
    ///
    /// # Errors
    /// [`StateError::DuplicateName`] when the operator declared the name before.
    pub fn list<V: StateValue>(
        &mut self,
        descriptor: &ListStateDescriptor<V>,
    ) -> Result<ListState<V>, StateError> {
        Ok(ListState::new(self.declare::<List<V>>(descriptor.schema(), &descriptor.common)?))
    }

    /// A handle to the map state `descriptor` names, of the key at hand.
    ///
    /// # Errors
    /// [`StateError::DuplicateName`] when the operator declared the name before.
    pub fn map<M: Key, V: StateValue>(
        &mut self,
        descriptor: &MapStateDescriptor<M, V>,
    ) -> Result<MapState<M, V>, StateError> {
        Ok(MapState::new(self.declare::<Map<V>>(descriptor.schema(), &descriptor.common)?))
    }

    /// A handle to the reducing state `descriptor` names, of the key at hand.
    ///
    /// # Errors
    /// [`StateError::DuplicateName`] when the operator declared the name before.
    pub fn reducing<V: StateValue>(
        &mut self,
        descriptor: &ReducingStateDescriptor<V>,
    ) -> Result<ReducingState<V>, StateError> {
        let cells = self.declare::<Single<V>>(descriptor.schema(), &descriptor.common)?;
        Ok(ReducingState::new(cells, descriptor.reduce.clone()))
    }

    /// A handle to the aggregating state `descriptor` names, of the key at hand.
    ///
    /// # Errors
    /// [`StateError::DuplicateName`] when the operator declared the name before.
    pub fn aggregating<A: AggregateFunction>(
        &mut self,
        descriptor: &AggregatingStateDescriptor<A>,
    ) -> Result<AggregatingState<A>, StateError> {
        let cells = self.declare::<Single<A::Accumulator>>(descriptor.schema(), &descriptor.common)?;
        Ok(AggregatingState::new(cells, descriptor.function.clone()))
    }

    /// A handle to a list of the operator's subtask, not of a key.
    ///
    /// # Errors
    /// [`StateError::DuplicateName`] when the operator declared a list of that name before.
    pub fn operator_list<V: StateValue>(
        &mut self,
        descriptor: &OperatorListDescriptor<V>,
    ) -> Result<OperatorListState<V>, StateError> {
        self.lists.declare(&self.operator, descriptor)
    }

    fn declare<C: Cell + PointsTo>(
        &mut self,
        schema: StateSchema,
        common: &Common<C::Item>,
    ) -> Result<Cells<C>, StateError> {
        if self.schemas.iter().any(|declared| declared.name == schema.name) {
            return Err(StateError::DuplicateName { operator: self.operator.clone(), state: schema.name });
        }
        let column = Rc::new(RefCell::new(Column::<C>::new(common, self.group_count)));
        self.columns.push(Rc::clone(&column) as Rc<RefCell<dyn StateColumn>>);
        self.schemas.push(schema);
        self.ttls.push(common.ttl);
        Ok(Cells { rows: Rc::clone(&self.rows), column, ttl: common.ttl })
    }
}
