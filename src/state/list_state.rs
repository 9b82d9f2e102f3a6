//! Operator state: a list that belongs to an operator's subtask, not to a key.
//!
//! When a job is restored with another parallelism the items of all subtasks are put in one row, in subtask order, and
//! either cut into equal runs or given whole to every subtask.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::descriptor::StateValue;
use super::error::StateError;

/// How the items of an operator's list are shared out at a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Redistribution {
    /// Every subtask gets a run of equal length, up to one item.
    Split,
    /// Every subtask gets all items.
    Union,
}

/// Describes an operator's list.
pub struct OperatorListDescriptor<V> {
    name: String,
    version: u16,
    redistribution: Redistribution,
    value: std::marker::PhantomData<fn() -> V>,
}

impl<V: StateValue> OperatorListDescriptor<V> {
    /// A list called `name`, unique among the operator's lists; version 1.
    pub fn new(name: impl Into<String>, redistribution: Redistribution) -> Self {
        Self { name: name.into(), version: 1, redistribution, value: std::marker::PhantomData }
    }

    /// Sets the version of an item's schema. Another version in a checkpoint is refused at restore.
    #[must_use]
    pub fn version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }
}

impl<V> Clone for OperatorListDescriptor<V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            version: self.version,
            redistribution: self.redistribution,
            value: std::marker::PhantomData,
        }
    }
}

impl<V> fmt::Debug for OperatorListDescriptor<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorListDescriptor")
            .field("name", &self.name)
            .field("redistribution", &self.redistribution)
            .finish_non_exhaustive()
    }
}

/// A handle to an operator's list.
///
/// Declared through [`StateRegistry::operator_list`](super::StateRegistry::operator_list).
pub struct OperatorListState<V> {
    items: Rc<RefCell<Vec<V>>>,
}

impl<V: StateValue> OperatorListState<V> {
    /// The items.
    pub fn get(&self) -> Vec<V> {
        self.items.borrow().clone()
    }

    /// Adds an item at the end.
    pub fn add(&self, item: V) {
        self.items.borrow_mut().push(item);
    }

    /// Replaces the list.
    pub fn update(&self, items: impl IntoIterator<Item = V>) {
        let mut list = self.items.borrow_mut();
        list.clear();
        list.extend(items);
    }

    /// Removes all items.
    pub fn clear(&self) {
        self.items.borrow_mut().clear();
    }
}

impl<V> fmt::Debug for OperatorListState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorListState").finish_non_exhaustive()
    }
}

/// An operator's list as a part's header holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedList {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) version: u16,
    pub(crate) redistribution: Redistribution,
    /// Postcard, one each item.
    pub(crate) items: Vec<Vec<u8>>,
}

/// The lists of one operator in one subtask.
#[derive(Default)]
pub(crate) struct Lists {
    lists: Vec<Box<dyn AnyList>>,
}

trait AnyList {
    fn name(&self) -> &str;
    fn save(&self) -> Result<SavedList, postcard::Error>;
    fn check(&self, saved: &SavedList) -> Result<(), String>;
    fn restore(&self, items: &[&[u8]]) -> Result<(), postcard::Error>;
    fn redistribution(&self) -> Redistribution;
}

struct TypedList<V> {
    descriptor: OperatorListDescriptor<V>,
    items: Rc<RefCell<Vec<V>>>,
}

impl<V: StateValue> AnyList for TypedList<V> {
    fn name(&self) -> &str {
        &self.descriptor.name
    }

    fn save(&self) -> Result<SavedList, postcard::Error> {
        Ok(SavedList {
            name: self.descriptor.name.clone(),
            type_name: std::any::type_name::<V>().to_owned(),
            version: self.descriptor.version,
            redistribution: self.descriptor.redistribution,
            items: self.items.borrow().iter().map(postcard::to_stdvec).collect::<Result<_, _>>()?,
        })
    }

    fn check(&self, saved: &SavedList) -> Result<(), String> {
        let type_name = std::any::type_name::<V>();
        if saved.version == self.descriptor.version && saved.type_name == type_name {
            Ok(())
        } else {
            Err(format!("operator list of {type_name} version {}", self.descriptor.version))
        }
    }

    fn restore(&self, items: &[&[u8]]) -> Result<(), postcard::Error> {
        let items: Vec<V> = items.iter().map(|item| postcard::from_bytes(item)).collect::<Result<_, _>>()?;
        *self.items.borrow_mut() = items;
        Ok(())
    }

    fn redistribution(&self) -> Redistribution {
        self.descriptor.redistribution
    }
}

impl Lists {
    pub(crate) fn declare<V: StateValue>(
        &mut self,
        operator: &str,
        descriptor: &OperatorListDescriptor<V>,
    ) -> Result<OperatorListState<V>, StateError> {
        if self.lists.iter().any(|list| list.name() == descriptor.name) {
            return Err(StateError::DuplicateName {
                operator: operator.to_owned(),
                state: descriptor.name.clone(),
            });
        }
        let items = Rc::new(RefCell::new(Vec::new()));
        self.lists.push(Box::new(TypedList { descriptor: descriptor.clone(), items: Rc::clone(&items) }));
        Ok(OperatorListState { items })
    }

    pub(crate) fn save(&self) -> Result<Vec<SavedList>, postcard::Error> {
        self.lists.iter().map(|list| list.save()).collect()
    }

    /// Shares out what all subtasks saved, in subtask order, to subtask `index` of `parallelism`.
    pub(crate) fn restore(
        &self,
        operator: &str,
        saved: &[&[SavedList]],
        index: usize,
        parallelism: usize,
    ) -> Result<(), StateError> {
        for other in saved.iter().flat_map(|lists| lists.iter()) {
            let declared = self.lists.iter().find(|list| list.name() == other.name);
            let checked =
                declared.map_or_else(|| Err("nothing of that name".to_owned()), |list| list.check(other));
            checked.map_err(|declared| StateError::SchemaMismatch {
                operator: operator.to_owned(),
                state: other.name.clone(),
                saved: format!("operator list of {} version {}", other.type_name, other.version),
                declared,
            })?;
        }
        for list in &self.lists {
            let of_this =
                saved.iter().flat_map(|lists| lists.iter()).filter(|saved| saved.name == list.name());
            let items: Vec<&[u8]> = of_this.flat_map(|saved| saved.items.iter().map(Vec::as_slice)).collect();
            let share = match list.redistribution() {
                Redistribution::Union => &items[..],
                Redistribution::Split => {
                    let cut = |index: usize| index * items.len() / parallelism;
                    &items[cut(index)..cut(index + 1)]
                }
            };
            list.restore(share).map_err(|_| StateError::Malformed {
                operator: operator.to_owned(),
                position: 0,
                detail: "an item of the declared type in an operator's list",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(redistribution: Redistribution) -> (Lists, OperatorListState<u32>) {
        let mut lists = Lists::default();
        let state = lists.declare("o", &OperatorListDescriptor::new("l", redistribution)).unwrap();
        (lists, state)
    }

    fn rescaled(redistribution: Redistribution, from: &[&[u32]], to: usize) -> Vec<Vec<u32>> {
        let saved: Vec<Vec<SavedList>> = from
            .iter()
            .map(|items| {
                let (lists, state) = lists(redistribution);
                state.update(items.iter().copied());
                lists.save().unwrap()
            })
            .collect();
        let saved: Vec<&[SavedList]> = saved.iter().map(Vec::as_slice).collect();
        (0..to)
            .map(|index| {
                let (lists, state) = lists(redistribution);
                lists.restore("o", &saved, index, to).unwrap();
                state.get()
            })
            .collect()
    }

    #[test]
    fn lists_are_split_or_joined_when_the_parallelism_changes() {
        let split = rescaled(Redistribution::Split, &[&[1, 2, 3], &[4, 5]], 3);
        assert_eq!(split, [vec![1], vec![2, 3], vec![4, 5]]);
        assert_eq!(rescaled(Redistribution::Split, &[&[1], &[2, 3]], 1), [vec![1, 2, 3]]);
        assert_eq!(rescaled(Redistribution::Union, &[&[1], &[2]], 2), [vec![1, 2], vec![1, 2]]);
    }

    #[test]
    fn another_item_type_is_refused_by_name() {
        let (lists, _) = lists(Redistribution::Split);
        let mut other = Lists::default();
        other.declare("o", &OperatorListDescriptor::<String>::new("l", Redistribution::Split)).unwrap();
        let error = other.restore("o", &[&lists.save().unwrap()], 0, 1).unwrap_err().to_string();
        assert!(error.contains(r#"state "l" of operator "o""#) && error.contains("u32"), "{error}");
    }
}
