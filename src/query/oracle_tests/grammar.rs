//! Random expressions, each in our dialect and in SQLite's.

use crate::disk::Random;

/// Texts of columns and literals. Those beyond ASCII have no cases.
pub(super) const TEXTS: [&str; 12] =
    ["", "a", "ab", "B", "aB", "a%b", "it's", "€", "_x", " b ", "水a水", "abba"];
const PATTERNS: [&str; 10] = ["%", "a%", "%b", "%a%", "_", "_b%", "a!%b", "", "%a_b%", "水%"];
/// Most bits of a number, so that sums over all rows are exact still.
const BITS_MAX: u32 = 36;

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Double,
    Text,
    Bool,
}

impl Kind {
    pub(super) fn random(random: &mut Random) -> Self {
        [Self::Int, Self::Double, Self::Text, Self::Bool][random.below(4) as usize]
    }

    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Int => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Text => "STRING",
            Self::Bool => "BOOLEAN",
        }
    }

    pub(super) fn sqlite(self) -> &'static str {
        match self {
            Self::Int | Self::Bool => "INTEGER",
            Self::Double => "REAL",
            Self::Text => "TEXT",
        }
    }
}

/// An expression, twice.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) ours: String,
    pub(super) sqlite: String,
    pub(super) kind: Kind,
    /// Of a number: its magnitude is at most 2 to this power.
    whole_bits: u32,
    /// Of a `DOUBLE`: it is a multiple of 2 to minus this power.
    fraction_bits: u32,
}

impl Expr {
    fn bits(&self) -> u32 {
        self.whole_bits + self.fraction_bits
    }

    fn of_bits(self, whole_bits: u32, fraction_bits: u32) -> Self {
        Self { whole_bits, fraction_bits, ..self }
    }
}

/// An expression of `parts`, which stand for `{0}`, `{1}` and so on; with the most bits any of the kind has.
fn two(kind: Kind, ours: &str, sqlite: &str, parts: &[&Expr]) -> Expr {
    let fill = |template: &str, text: fn(&Expr) -> &str| {
        let parts = parts.iter().enumerate();
        parts.fold(template.to_owned(), |filled, (at, part)| filled.replace(&format!("{{{at}}}"), text(part)))
    };
    let same = || parts.iter().filter(|part| part.kind == kind);
    Expr {
        ours: fill(ours, |part| &part.ours),
        sqlite: fill(sqlite, |part| &part.sqlite),
        kind,
        whole_bits: same().map(|part| part.whole_bits).max().unwrap_or(0),
        fraction_bits: same().map(|part| part.fraction_bits).max().unwrap_or(0),
    }
}

fn both(kind: Kind, template: &str, parts: &[&Expr]) -> Expr {
    two(kind, template, template, parts)
}

/// Makes expressions over columns `c0`, `c1` and so on.
pub(super) struct Grammar<'a> {
    pub(super) columns: &'a [Kind],
    pub(super) random: &'a mut Random,
}

impl Grammar<'_> {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len() as u64) as usize]
    }

    /// An expression of any kind.
    pub(super) fn any(&mut self, depth: u32) -> Expr {
        let kind = Kind::random(self.random);
        self.of(kind, depth)
    }

    /// What a WHERE may say.
    pub(super) fn filter(&mut self) -> Option<Expr> {
        (self.random.below(2) == 0).then(|| self.of(Kind::Bool, 3))
    }

    /// Up to two keys, of kinds with few values.
    pub(super) fn keys(&mut self) -> Vec<Expr> {
        let mut keys: Vec<Expr> = Vec::new();
        for _ in 0..self.random.below(3) {
            let kind = self.pick(&[Kind::Int, Kind::Text, Kind::Bool]);
            let depth = self.pick(&[0, 0, 1]);
            let key = self.of(kind, depth);
            // A literal in GROUP BY would be the number of a column for SQLite.
            if key.ours.contains('c') && keys.iter().all(|other| other.ours != key.ours) {
                keys.push(key);
            }
        }
        keys
    }

    fn literal(&mut self, kind: Kind) -> Expr {
        let number = self.random.below(41).cast_signed() - 20;
        let text = match kind {
            Kind::Int => format!("({number})"),
            Kind::Double => format!("({:?})", number as f64 * 0.25),
            Kind::Text => format!("'{}'", self.pick(&TEXTS).replace('\'', "''")),
            Kind::Bool => self.pick(&["TRUE", "FALSE"]).to_owned(),
        };
        both(kind, &text, &[]).of_bits(5, 2)
    }

    fn leaf(&mut self, kind: Kind) -> Expr {
        let columns: Vec<usize> = (0..self.columns.len()).filter(|at| self.columns[*at] == kind).collect();
        if columns.is_empty() || self.random.below(5) == 0 {
            if self.random.below(6) == 0 {
                return two(kind, &format!("CAST(NULL AS {})", kind.sql()), "NULL", &[]);
            }
            return self.literal(kind);
        }
        let column = self.pick(&columns);
        both(kind, &format!("c{column}"), &[]).of_bits(10, 2)
    }

    /// An expression of this kind.
    pub(super) fn of(&mut self, kind: Kind, depth: u32) -> Expr {
        if depth == 0 || self.random.below(8) == 0 {
            return self.leaf(kind);
        }
        let depth = depth - 1;
        if self.random.below(5) == 0 {
            return self.of_any_kind(kind, depth);
        }
        match kind {
            Kind::Int => self.int(depth),
            Kind::Double => self.double(depth),
            Kind::Text => self.text(depth),
            Kind::Bool => self.bool(depth),
        }
    }

    fn of_any_kind(&mut self, kind: Kind, depth: u32) -> Expr {
        let (left, right) = (self.of(kind, depth), self.of(kind, depth));
        let condition = self.of(Kind::Bool, depth);
        match self.random.below(6) {
            0 => both(kind, "COALESCE({0}, {1})", &[&left, &right]),
            1 => both(kind, "NULLIF({0}, {1})", &[&left, &right]),
            2 => two(kind, "IF({0}, {1}, {2})", "iif({0}, {1}, {2})", &[&condition, &left, &right]),
            3 => both(kind, "CASE WHEN {0} THEN {1} ELSE {2} END", &[&condition, &left, &right]),
            4 => both(kind, "CASE WHEN {0} THEN {1} END", &[&condition, &left]),
            _ => {
                let of = Kind::random(self.random);
                let (subject, case, other) = (self.of(of, depth), self.of(of, depth), self.of(of, depth));
                let template = "CASE {2} WHEN {3} THEN {0} WHEN {4} THEN {1} END";
                // The subject's numbers are not part of what it gives.
                both(kind, template, &[&left, &right, &subject, &case, &other])
            }
        }
    }

    fn int(&mut self, depth: u32) -> Expr {
        let (left, right) = (self.of(Kind::Int, depth), self.of(Kind::Int, depth));
        let (more, sum) = (left.whole_bits.max(right.whole_bits) + 1, left.bits() + right.bits());
        let pair = [&left, &right];
        let divisor = self.pick(&["7", "3", "2", "(-2)", "(-5)", "1", "(-1)"]);
        match self.random.below(13) {
            0 if more <= BITS_MAX => both(Kind::Int, "({0} + {1})", &pair).of_bits(more, 0),
            1 if more <= BITS_MAX => both(Kind::Int, "({0} - {1})", &pair).of_bits(more, 0),
            2 if sum <= BITS_MAX => both(Kind::Int, "({0} * {1})", &pair).of_bits(sum, 0),
            3 => both(Kind::Int, &format!("({{0}} / {divisor})"), &[&left]),
            4 => both(Kind::Int, &format!("({{0}} % {divisor})"), &[&left]),
            5 => two(Kind::Int, &format!("MOD({{0}}, {divisor})"), &format!("({{0}} % {divisor})"), &[&left]),
            6 => both(Kind::Int, "(-{0})", &[&left]),
            7 => both(Kind::Int, "ABS({0})", &[&left]),
            8 => two(Kind::Int, "GREATEST({0}, {1})", "max({0}, {1})", &pair),
            9 => two(Kind::Int, "LEAST({0}, {1})", "min({0}, {1})", &pair),
            10 => self.int_of_text(depth),
            11 => {
                let of = self.of(Kind::Double, depth);
                let cast = two(Kind::Int, "CAST({0} AS BIGINT)", "CAST({0} AS INTEGER)", &[&of]);
                cast.of_bits(of.whole_bits, 0)
            }
            _ => {
                let of = self.of(Kind::Bool, depth);
                two(Kind::Int, "CAST({0} AS BIGINT)", "CAST({0} AS INTEGER)", &[&of]).of_bits(1, 0)
            }
        }
    }

    fn int_of_text(&mut self, depth: u32) -> Expr {
        let (text, part) = (self.of(Kind::Text, depth), self.literal(Kind::Text));
        match self.random.below(3) {
            0 => two(Kind::Int, "CHAR_LENGTH({0})", "length({0})", &[&text]).of_bits(10, 0),
            1 => two(Kind::Int, "POSITION({1} IN {0})", "instr({0}, {1})", &[&text, &part]).of_bits(10, 0),
            _ => {
                let of = self.of(Kind::Int, depth);
                let cast = "CAST(CAST({0} AS STRING) AS BIGINT)";
                two(Kind::Int, cast, "CAST(CAST({0} AS TEXT) AS INTEGER)", &[&of])
            }
        }
    }

    fn double(&mut self, depth: u32) -> Expr {
        let (left, mut right) = (self.of(Kind::Double, depth), self.of(Kind::Double, depth));
        if self.random.below(3) == 0 {
            right = self.of(Kind::Int, depth);
            right.fraction_bits = 0;
        }
        let whole = left.whole_bits.max(right.whole_bits) + 1;
        let fraction = left.fraction_bits.max(right.fraction_bits);
        let pair = [&left, &right];
        match self.random.below(7) {
            0 if whole + fraction <= BITS_MAX => {
                both(Kind::Double, "({0} + {1})", &pair).of_bits(whole, fraction)
            }
            1 if whole + fraction <= BITS_MAX => {
                both(Kind::Double, "({1} - {0})", &pair).of_bits(whole, fraction)
            }
            2 if left.bits() + right.bits() <= BITS_MAX => both(Kind::Double, "({0} * {1})", &pair)
                .of_bits(left.whole_bits + right.whole_bits, left.fraction_bits + right.fraction_bits),
            3 if left.bits() < BITS_MAX => {
                both(Kind::Double, "({0} / 2.0)", &[&left]).of_bits(left.whole_bits, left.fraction_bits + 1)
            }
            4 => both(Kind::Double, "ABS({0})", &[&left]),
            5 => both(Kind::Double, "(-{0})", &[&left]),
            _ => {
                let of = self.of(Kind::Int, depth);
                let cast = two(Kind::Double, "CAST({0} AS DOUBLE)", "CAST({0} AS REAL)", &[&of]);
                cast.of_bits(of.whole_bits, 0)
            }
        }
    }

    fn text(&mut self, depth: u32) -> Expr {
        let (left, right) = (self.of(Kind::Text, depth), self.of(Kind::Text, depth));
        let pair = [&left, &right];
        let (from, length) = (1 + self.random.below(4), self.random.below(4));
        match self.random.below(10) {
            0 => two(Kind::Text, "UPPER({0})", "upper({0})", &[&left]),
            1 => two(Kind::Text, "LOWER({0})", "lower({0})", &[&left]),
            2 => two(
                Kind::Text,
                &format!("SUBSTRING({{0}}, {from})"),
                &format!("substr({{0}}, {from})"),
                &[&left],
            ),
            3 => {
                let sqlite = format!("substr({{0}}, {from}, {length})");
                two(Kind::Text, &format!("SUBSTRING({{0}} FROM {from} FOR {length})"), &sqlite, &[&left])
            }
            4 => two(Kind::Text, "TRIM({0})", "trim({0})", &[&left]),
            5 => both(Kind::Text, "REPLACE({0}, 'a', 'b€')", &[&left]),
            6 => both(Kind::Text, "({0} || {1})", &pair),
            7 => {
                let number = self.of(Kind::Int, depth);
                both(Kind::Text, "({0} || {1})", &[&left, &number])
            }
            8 => {
                let number = self.of(Kind::Int, depth);
                two(Kind::Text, "CAST({0} AS STRING)", "CAST({0} AS TEXT)", &[&number])
            }
            _ => {
                let number = self.of(Kind::Double, depth);
                if number.whole_bits > 30 || number.fraction_bits > 4 {
                    return left;
                }
                // There is no negative zero then.
                two(Kind::Text, "CAST(({0} + 0.0) AS STRING)", "CAST(({0} + 0.0) AS TEXT)", &[&number])
            }
        }
    }

    fn bool(&mut self, depth: u32) -> Expr {
        match self.random.below(8) {
            0 | 1 => {
                let (left, right) = (self.of(Kind::Bool, depth), self.of(Kind::Bool, depth));
                let template = self.pick(&["({0} AND {1})", "({0} OR {1})", "({0} = {1})", "(NOT {0})"]);
                both(Kind::Bool, template, &[&left, &right])
            }
            2 => {
                let of = self.of(Kind::Bool, depth);
                let is = self.pick(&["IS TRUE", "IS NOT TRUE", "IS FALSE", "IS NOT FALSE"]);
                both(Kind::Bool, &format!("({{0}} {is})"), &[&of])
            }
            3 => {
                let of = self.any(depth);
                let is = self.pick(&["IS NULL", "IS NOT NULL"]);
                both(Kind::Bool, &format!("({{0}} {is})"), &[&of])
            }
            4 => {
                let of = self.of(Kind::Text, depth);
                let pattern = self.pick(&PATTERNS);
                let like = self.pick(&["LIKE", "NOT LIKE"]);
                both(Kind::Bool, &format!("({{0}} {like} '{pattern}' ESCAPE '!')"), &[&of])
            }
            choice => self.comparison(choice, depth),
        }
    }

    fn comparison(&mut self, choice: u64, depth: u32) -> Expr {
        let kind = self.pick(&[Kind::Int, Kind::Double, Kind::Text]);
        let (left, right) = (self.of(kind, depth), self.of(kind, depth));
        let (low, high) = (self.leaf(kind), self.leaf(kind));
        match choice {
            5 => {
                let between = self.pick(&["BETWEEN", "NOT BETWEEN"]);
                both(Kind::Bool, &format!("({{0}} {between} {{1}} AND {{2}})"), &[&left, &low, &high])
            }
            6 => {
                let within = self.pick(&["IN", "NOT IN"]);
                both(
                    Kind::Bool,
                    &format!("({{0}} {within} ({{1}}, {{2}}, {{3}}))"),
                    &[&left, &low, &high, &right],
                )
            }
            _ => {
                let other = if kind == Kind::Double && self.random.below(3) == 0 {
                    self.of(Kind::Int, depth)
                } else {
                    right
                };
                let op =
                    self.pick(&["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
                both(Kind::Bool, &format!("({{0}} {op} {{1}})"), &[&left, &other])
            }
        }
    }

    /// An expression of aggregates.
    pub(super) fn aggregated(&mut self, depth: u32) -> Expr {
        let one = self.aggregate();
        if depth == 0 || self.random.below(2) == 0 {
            return one;
        }
        let (kind, literal) = (one.kind, self.literal(one.kind));
        match kind {
            Kind::Int | Kind::Double if self.random.below(2) == 0 => {
                both(kind, "({0} + {1})", &[&one, &literal])
            }
            _ => match self.random.below(3) {
                0 => both(kind, "COALESCE({0}, {1})", &[&one, &literal]),
                1 => {
                    let condition = self.aggregated_condition();
                    both(kind, "CASE WHEN {0} THEN {1} ELSE {2} END", &[&condition, &one, &literal])
                }
                _ => both(kind, "NULLIF({0}, {1})", &[&one, &literal]),
            },
        }
    }

    /// What a HAVING may say.
    pub(super) fn aggregated_condition(&mut self) -> Expr {
        let one = self.aggregate();
        let literal = self.literal(one.kind);
        match (one.kind, self.random.below(3)) {
            (_, 0) => both(Kind::Bool, "({0} IS NOT NULL)", &[&one]),
            (Kind::Bool, _) => both(Kind::Bool, "({0} IS NOT DISTINCT FROM {1})", &[&one, &literal]),
            (_, 1) => both(Kind::Bool, "({0} <= {1})", &[&one, &literal]),
            _ => both(Kind::Bool, "({0} > {1})", &[&one, &literal]),
        }
    }

    fn aggregate(&mut self) -> Expr {
        let depth = self.pick(&[0, 0, 1, 2]);
        let (any, int, double) = (self.any(depth), self.of(Kind::Int, depth), self.of(Kind::Double, depth));
        match self.random.below(9) {
            0 => both(Kind::Int, "COUNT(*)", &[]),
            1 => both(Kind::Int, "COUNT({0})", &[&any]),
            2 => both(Kind::Int, "COUNT(DISTINCT {0})", &[&any]),
            3 => both(Kind::Int, "SUM({0})", &[&int]),
            4 => both(Kind::Double, "SUM({0})", &[&double]),
            5 => both(Kind::Double, "AVG({0})", &[&double]),
            6 => two(Kind::Int, "AVG({0})", "(SUM({0}) / COUNT({0}))", &[&int]),
            7 => both(any.kind, "MIN({0})", &[&any]),
            _ => both(any.kind, "MAX({0})", &[&any]),
        }
    }
}
