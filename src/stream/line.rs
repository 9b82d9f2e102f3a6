//! Records as lines of text: how `print` and the file sink write them.

use super::decimal::{append_signed, append_unsigned};

/// A record that can be written as a line, without its end. Numbers, text, and tuples of them as Flink prints them:
/// `(1,4)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written as a line",
    note = "use `print_with(|record, line| …)`, or implement `tidegate::Line` for the type"
)]
pub trait Line {
    /// Appends the line to `out`. Must not append a line end.
    fn append_to(&self, out: &mut Vec<u8>);
}

macro_rules! integer_line {
    ($append:path as $wide:ty: $($integer:ty),*) => {$(
        impl Line for $integer {
            #[inline]
            fn append_to(&self, out: &mut Vec<u8>) {
                $append(<$wide>::from(*self), out);
            }
        }
    )*};
}

integer_line!(append_signed as i64: i8, i16, i32, i64);
integer_line!(append_unsigned as u64: u8, u16, u32, u64);

macro_rules! display_line {
    ($($displayed:ty),*) => {$(
        impl Line for $displayed {
            fn append_to(&self, out: &mut Vec<u8>) {
                use std::io::Write;
                write!(out, "{self}").expect("a vector takes all");
            }
        }
    )*};
}

display_line!(f32, f64, i128, u128, isize, usize, bool, char, crate::state::TextKey);

impl Line for str {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Line for String {
    fn append_to(&self, out: &mut Vec<u8>) {
        self.as_str().append_to(out);
    }
}

impl<T: Line + ?Sized> Line for &T {
    fn append_to(&self, out: &mut Vec<u8>) {
        (**self).append_to(out);
    }
}

macro_rules! tuple_line {
    ($first:ident $($other:ident)*) => {
        impl<$first: Line, $($other: Line),*> Line for ($first, $($other,)*) {
            #[expect(non_snake_case, reason = "one name for a type and its value")]
            fn append_to(&self, out: &mut Vec<u8>) {
                let ($first, $($other,)*) = self;
                out.push(b'(');
                $first.append_to(out);
                $(out.push(b','); $other.append_to(out);)*
                out.push(b')');
            }
        }
    };
}

tuple_line!(A);
tuple_line!(A B);
tuple_line!(A B C);
tuple_line!(A B C D);
tuple_line!(A B C D E);
tuple_line!(A B C D E F);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_look_as_flink_prints_them() {
        let mut out = Vec::new();
        (1i64, -4i64, "boiler", 2.5f64).append_to(&mut out);
        assert_eq!(out, b"(1,-4,boiler,2.5)");
    }
}
