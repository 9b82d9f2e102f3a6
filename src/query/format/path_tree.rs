//! The tree of the paths of a JSON source's fields: what is read of a frame, and what is skipped.
//!
//! An object's members are in the order of the fields, because frames mostly have theirs in that order too: the
//! search begins with the member behind the one found last, and goes to the sorted names when that is another.

use super::field::FieldSpec;
use super::path::PathStep;

/// What the fields want of one value.
#[derive(Debug)]
pub(super) enum PathNode {
    Object(ObjectNode),
    /// Elements by rising index.
    Array(Vec<(usize, PathNode)>),
    /// The value of the field with this index.
    Field(usize),
}

/// The members of an object that are wanted.
#[derive(Debug, Default)]
pub(super) struct ObjectNode {
    pub(super) members: Vec<Member>,
    /// Indexes of `members`, by name.
    by_name: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Member {
    name: Box<str>,
    /// Where it is noted that the member was there: an index below the tree's number of members.
    pub(super) mark: usize,
    pub(super) node: PathNode,
}

impl ObjectNode {
    /// The index of the member of this name; `expected` is looked at first.
    #[inline]
    pub(super) fn find(&self, name: &str, expected: usize) -> Option<usize> {
        if self.members.get(expected).is_some_and(|member| &*member.name == name) {
            return Some(expected);
        }
        self.search(name)
    }

    fn search(&self, name: &str) -> Option<usize> {
        let found = self.by_name.binary_search_by(|index| (*self.members[*index].name).cmp(name)).ok()?;
        Some(self.by_name[found])
    }
}

/// The tree of all fields' paths.
#[derive(Debug, Default)]
pub(super) struct PathTree {
    pub(super) root: ObjectNode,
    /// Number of members in the tree.
    pub(super) marks: usize,
}

impl PathTree {
    /// # Errors
    /// Two fields of which one is in the other's place, or within it.
    pub(super) fn new(fields: &[FieldSpec]) -> Result<Self, String> {
        let mut tree = Self::default();
        let mut root = PathNode::Object(ObjectNode::default());
        for (index, field) in fields.iter().enumerate() {
            insert(&mut root, field.path.steps(), index, &mut tree.marks)
                .map_err(|other| conflict(field, &fields[other]))?;
        }
        if let PathNode::Object(mut object) = root {
            sort_names(&mut object);
            tree.root = object;
        }
        Ok(tree)
    }
}

fn conflict(field: &FieldSpec, other: &FieldSpec) -> String {
    format!(
        "columns {} (path {}) and {} (path {}) are read from the same place, or one from within the other, or as \
         object and array: declare one of them, and derive the other in the query",
        other.name, other.path, field.name, field.path
    )
}

/// Adds a field; gives the index of a field that is in its way. Recursion ends with the path's steps, which are few.
fn insert(node: &mut PathNode, steps: &[PathStep], field: usize, marks: &mut usize) -> Result<(), usize> {
    let Some((step, rest)) = steps.split_first() else {
        return Err(any_field(node));
    };
    let next = match (node, step) {
        (PathNode::Object(object), PathStep::Member(name)) => {
            let index = match object.members.iter().position(|member| *member.name == **name) {
                Some(index) => index,
                None => {
                    let (name, mark) = (name.as_str().into(), *marks);
                    object.members.push(Member { name, mark, node: new_node(rest, field) });
                    *marks += 1;
                    if rest.is_empty() {
                        return Ok(());
                    }
                    object.members.len() - 1
                }
            };
            &mut object.members[index].node
        }
        (PathNode::Array(elements), PathStep::Element(element)) => {
            let index = match elements.binary_search_by_key(element, |(index, _)| *index) {
                Ok(index) => index,
                Err(index) => {
                    elements.insert(index, (*element, new_node(rest, field)));
                    if rest.is_empty() {
                        return Ok(());
                    }
                    index
                }
            };
            &mut elements[index].1
        }
        (node, _) => return Err(any_field(node)),
    };
    insert(next, rest, field, marks)
}

/// The node of a value from which these steps go on.
fn new_node(steps: &[PathStep], field: usize) -> PathNode {
    match steps.first() {
        None => PathNode::Field(field),
        Some(PathStep::Member(_)) => PathNode::Object(ObjectNode::default()),
        Some(PathStep::Element(_)) => PathNode::Array(Vec::new()),
    }
}

/// A field at or below a node: every node is there for one.
fn any_field(mut node: &PathNode) -> usize {
    loop {
        let next = match node {
            PathNode::Field(field) => return *field,
            PathNode::Object(object) => object.members.first().map(|member| &member.node),
            PathNode::Array(elements) => elements.first().map(|(_, node)| node),
        };
        match next {
            Some(next) => node = next,
            None => return 0,
        }
    }
}

fn sort_names(object: &mut ObjectNode) {
    let members = &object.members;
    object.by_name = (0..members.len()).collect();
    object.by_name.sort_by(|one, other| members[*one].name.cmp(&members[*other].name));
    object.members.iter_mut().for_each(|member| sort_names_below(&mut member.node));
}

fn sort_names_below(node: &mut PathNode) {
    match node {
        PathNode::Object(object) => sort_names(object),
        PathNode::Array(elements) => elements.iter_mut().for_each(|(_, node)| sort_names_below(node)),
        PathNode::Field(_) => {}
    }
}
