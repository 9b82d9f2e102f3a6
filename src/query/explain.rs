//! Plans for people.

use std::fmt::{Result, Write};

use super::plan::{AggregateStep, Calc, Input, OverStep, Pipeline, QueryPlan, Step, typed};
use super::sql_type::SqlType;

impl QueryPlan {
    /// The plan for people: a step a line, with types, key and state.
    pub(crate) fn explain(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes all");
        text
    }

    fn write(&self, text: &mut String) -> Result {
        writeln!(text, "query {}", self.name)?;
        pipeline(text, &self.pipeline, "  ")?;
        let columns: Vec<String> =
            self.fields.iter().map(|field| format!("{} {}", field.name, field.sql_type)).collect();
        writeln!(text, "  gives {}", columns.join(", "))
    }
}

fn pipeline(text: &mut String, steps: &Pipeline, indent: &str) -> Result {
    match &steps.input {
        Input::Relation(name) => writeln!(text, "{indent}reads {name}")?,
        Input::Union(branches) => {
            writeln!(text, "{indent}reads all rows of")?;
            for branch in branches {
                pipeline(text, branch, &format!("{indent}  "))?;
            }
        }
    }
    steps.steps.iter().try_for_each(|step| match step {
        Step::Calc(step) => calc(text, step, indent),
        Step::Aggregate(step) => aggregate(text, step, indent),
        Step::Over(step) => over(text, step, indent),
    })
}

fn calc(text: &mut String, calc: &Calc, indent: &str) -> Result {
    if let Some(filter) = &calc.filter {
        writeln!(text, "{indent}filter {}", filter.text)?;
    }
    let column = |(column, name): (&super::expression::Expression, &String)| match &column.text {
        text if text == name => format!("{name} {}", column.sql_type),
        text => format!("{name} {} = {text}", column.sql_type),
    };
    let columns: Vec<String> = calc.project.iter().zip(&calc.names).map(column).collect();
    writeln!(text, "{indent}project {}", columns.join(", "))
}

fn aggregate(text: &mut String, step: &AggregateStep, indent: &str) -> Result {
    let kind = step.window.map_or("aggregate, one result a row".to_owned(), |window| window.describe());
    writeln!(text, "{indent}{kind}")?;
    writeln!(text, "{indent}  key    {}", key(&step.key_texts, &step.key_types))?;
    for call in &step.calls {
        writeln!(text, "{indent}  state  {} gives {}", call.text, call.aggregate.returns())?;
    }
    if let Some(window) = step.window.filter(|window| window.lateness_ms > 0) {
        writeln!(text, "{indent}  takes rows up to {} ms late", window.lateness_ms)?;
    }
    Ok(())
}

fn over(text: &mut String, step: &OverStep, indent: &str) -> Result {
    writeln!(text, "{indent}each row with what was before it")?;
    writeln!(text, "{indent}  key    {}", key(&step.key_texts, &step.key_types))?;
    step.calls
        .iter()
        .try_for_each(|call| writeln!(text, "{indent}  state  {} gives {}", call.text, call.sql_type))
}

fn key(texts: &[String], types: &[SqlType]) -> String {
    if texts.is_empty() { "none: all rows together".to_owned() } else { typed(texts, types) }
}
