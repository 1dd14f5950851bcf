//! What expressions may speak of, and the check that they make sense: before any request comes.
//!
//! CEL itself finds most mistakes when an expression is evaluated. Here they are found when it is read: names that do
//! not exist, operands that cannot be compared, results that are no decision. And what could take long is refused.

use super::facts::{FACTS, Fact};
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use ipnet::IpNet;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Bool,
    Int,
    Double,
    Text,
    Null,
    List(Box<Type>),
    Map(Box<Type>),
    /// Only known when a request comes, such as a claim.
    Any,
}

/// What an expression needs when it is evaluated.
#[derive(Default)]
pub struct Needs {
    pub facts: BTreeSet<Fact>,
    pub expressions: BTreeMap<String, Regex>,
    pub networks: BTreeMap<String, IpNet>,
}

/// The most parts that an expression may have: names, literals, operators, calls.
const PARTS: usize = 500;

/// Checks that an expression decides something.
pub fn check(expression: &IdedExpr) -> Result<Needs, String> {
    let mut checker = Checker { needs: Needs::default(), bound: Vec::new(), parts: 0, loops: 0 };
    match checker.infer(expression)? {
        Type::Bool | Type::Any => Ok(checker.needs),
        other => Err(format!("it is {other}, and must be true or false")),
    }
}

struct Checker {
    needs: Needs,
    /// Names that comprehensions give, the innermost last.
    bound: Vec<(String, Type)>,
    parts: usize,
    /// Comprehensions around the part that is looked at.
    loops: usize,
}

type Inferred = Result<Type, String>;

impl Checker {
    fn infer(&mut self, expression: &IdedExpr) -> Inferred {
        self.parts += 1;
        if self.parts > PARTS {
            return Err(format!("it has more than {PARTS} parts; make several of it"));
        }
        match &expression.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Int,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::String(_) => Type::Text,
                LiteralValue::Null => Type::Null,
                LiteralValue::Bytes(_) => return Err("bytes cannot be compared with anything here".to_owned()),
            }),
            Expr::Ident(name) => self.named(name),
            Expr::Select(select) => {
                if let Some(fact) = self.fact(&expression.expr) {
                    self.needs.facts.insert(fact);
                    return Ok(if select.test { Type::Bool } else { fact.kind() });
                }
                if let Some(group) = self.group(&select.operand.expr) {
                    return Err(format!("{group} has no `{}`; it has {}", select.field, fields_of(group)));
                }
                let found = match self.infer(&select.operand)? {
                    Type::Map(value) => *value,
                    Type::Any => Type::Any,
                    other => return Err(format!("{other} has no `{}`", select.field)),
                };
                Ok(if select.test { Type::Bool } else { found })
            }
            Expr::List(list) => {
                let items: Vec<Type> = list.elements.iter().map(|item| self.infer(item)).collect::<Result<_, _>>()?;
                let first = items.first().cloned().unwrap_or(Type::Any);
                let same = items.iter().all(|item| *item == first);
                Ok(Type::List(Box::new(if same { first } else { Type::Any })))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return Err("this is no map".to_owned()) };
                    self.infer(&entry.key)?;
                    self.infer(&entry.value)?;
                }
                Ok(Type::Map(Box::new(Type::Any)))
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) | Expr::Unspecified => Err("there are no types of one's own here".to_owned()),
        }
    }

    fn named(&mut self, name: &str) -> Inferred {
        if let Some((_, kind)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return Ok(kind.clone());
        }
        if let Some(fact) = Fact::named(name) {
            self.needs.facts.insert(fact);
            return Ok(fact.kind());
        }
        match is_group(name) {
            true => Err(format!("`{name}` as a whole is nothing to compare; it has {}", fields_of(name))),
            false => Err(format!("there is no `{name}`; there are {}", names())),
        }
    }

    /// The fact that such a path of names is.
    fn fact(&self, expression: &Expr) -> Option<Fact> {
        let Expr::Select(select) = expression else { return None };
        let group = self.group(&select.operand.expr)?;
        Fact::named(&format!("{group}.{}", select.field))
    }

    /// The group of facts that a name is, unless a comprehension gives it to something else.
    fn group<'a>(&self, expression: &'a Expr) -> Option<&'a str> {
        let Expr::Ident(name) = expression else { return None };
        (is_group(name) && !self.bound.iter().any(|(bound, _)| bound == name)).then_some(name.as_str())
    }

    fn call(&mut self, call: &CallExpr) -> Inferred {
        if let Some(found) = self.function(call) {
            return found;
        }
        let operands: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let kinds: Vec<Type> = operands.iter().map(|operand| self.infer(operand)).collect::<Result<_, _>>()?;
        let wrong = |symbol: &str| {
            let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            Err(format!("`{symbol}` cannot be used with {}", kinds.join(" and ")))
        };
        match (call.func_name.as_str(), kinds.as_slice()) {
            (op::LOGICAL_AND | op::LOGICAL_OR, [a, b]) if a.may_be(&Type::Bool) && b.may_be(&Type::Bool) => {
                Ok(Type::Bool)
            }
            (op::LOGICAL_AND, _) => wrong("&&"),
            (op::LOGICAL_OR, _) => wrong("||"),
            (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [a]) if a.may_be(&Type::Bool) => Ok(Type::Bool),
            (op::LOGICAL_NOT, _) => wrong("!"),
            (op::EQUALS | op::NOT_EQUALS, [a, b]) if a.may_be(b) => Ok(Type::Bool),
            (op::EQUALS | op::NOT_EQUALS, _) => wrong("=="),
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b])
                if a.may_be(b) && a.has_order() && b.has_order() =>
            {
                Ok(Type::Bool)
            }
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, _) => wrong("<"),
            (op::ADD, [Type::List(a), Type::List(_)]) => Ok(Type::List(a.clone())),
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [a, b])
                if a.may_be(b) && (a.is_number() || call.func_name == op::ADD && a.may_be(&Type::Text)) =>
            {
                Ok(if *a == Type::Any { b.clone() } else { a.clone() })
            }
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, _) => wrong("+"),
            (op::NEGATE, [a]) if a.is_number() => Ok(a.clone()),
            (op::NEGATE, _) => wrong("-"),
            (op::CONDITIONAL, [condition, a, b]) if condition.may_be(&Type::Bool) => {
                Ok(if a == b { a.clone() } else { Type::Any })
            }
            (op::CONDITIONAL, _) => wrong("?:"),
            (op::IN, [_, Type::List(_) | Type::Map(_) | Type::Any]) => {
                let listed = matches!(operands.last().map(|list| &list.expr), Some(Expr::List(_)));
                match self.loops > 0 && !listed {
                    true => {
                        Err("`in` within a comprehension could take long, unless the list is written out".to_owned())
                    }
                    false => Ok(Type::Bool),
                }
            }
            (op::IN, _) => wrong("in"),
            (op::INDEX, [Type::List(item), key]) if key.is_number() => Ok((**item).clone()),
            (op::INDEX, [Type::Map(value), key]) if key.may_be(&Type::Text) => Ok((**value).clone()),
            (op::INDEX, [Type::Any, _]) => Ok(Type::Any),
            (op::INDEX, _) => wrong("[]"),
            (name, _) => Err(format!("there is no function `{name}` here")),
        }
    }

    /// A function by its name; nothing where it is none of these.
    fn function(&mut self, call: &CallExpr) -> Option<Inferred> {
        let arguments: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let (takes, gives): (&[Type], Type) = match call.func_name.as_str() {
            "size" => {
                let [one] = arguments.as_slice() else { return Some(Err("`size` takes one argument".to_owned())) };
                return Some(match self.infer(one) {
                    Ok(Type::Text | Type::List(_) | Type::Map(_) | Type::Any) => Ok(Type::Int),
                    Ok(other) => Err(format!("{other} has no size")),
                    Err(error) => Err(error),
                });
            }
            "contains" | "startsWith" | "endsWith" => (&[Type::Text, Type::Text], Type::Bool),
            "matches" => {
                return Some(self.with_literal(&arguments, |needs, text| {
                    let expression = Regex::new(text).map_err(|error| error.to_string().replace('\n', " "))?;
                    needs.expressions.insert(text.to_owned(), expression);
                    Ok(())
                }));
            }
            "inNetwork" => {
                return Some(self.with_literal(&arguments, |needs, text| {
                    let network: IpNet =
                        text.parse().map_err(|_| format!("'{text}' is no network such as 10.0.0.0/8"))?;
                    needs.networks.insert(text.to_owned(), network);
                    Ok(())
                }));
            }
            "int" => (&[Type::Any], Type::Int),
            "double" => (&[Type::Any], Type::Double),
            "string" => (&[Type::Any], Type::Text),
            _ => return None,
        };
        let name = &call.func_name;
        if arguments.len() != takes.len() {
            return Some(Err(format!("`{name}` takes {} arguments", takes.len())));
        }
        for (argument, wanted) in arguments.iter().zip(takes) {
            match self.infer(argument) {
                Err(error) => return Some(Err(error)),
                Ok(found) if !found.may_be(wanted) => {
                    return Some(Err(format!("`{name}` cannot be used with {found}")));
                }
                Ok(_) => {}
            }
        }
        Some(Ok(gives))
    }

    /// A function of a text and a literal, which is prepared here, once.
    fn with_literal(
        &mut self,
        arguments: &[&IdedExpr],
        prepare: impl FnOnce(&mut Needs, &str) -> Result<(), String>,
    ) -> Inferred {
        let [text, literal] = arguments else { return Err("`matches` and `inNetwork` take two arguments".to_owned()) };
        if !self.infer(text)?.may_be(&Type::Text) {
            return Err("`matches` and `inNetwork` are for strings".to_owned());
        }
        let Expr::Literal(LiteralValue::String(literal)) = &literal.expr else {
            return Err("the second argument of `matches` and `inNetwork` must be written out".to_owned());
        };
        prepare(&mut self.needs, literal.inner())?;
        Ok(Type::Bool)
    }

    /// `all`, `exists`, `exists_one`, `map`, `filter`, as CEL has expanded them.
    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Inferred {
        if self.loops > 0 {
            return Err("a comprehension within another one could take long".to_owned());
        }
        let item = match self.infer(&comprehension.iter_range)? {
            Type::List(item) => *item,
            Type::Map(_) => Type::Text,
            Type::Any => Type::Any,
            other => return Err(format!("{other} has no members")),
        };
        let result = self.infer(&comprehension.accu_init)?;
        self.loops += 1;
        let before = self.bound.len();
        self.bound.push((comprehension.iter_var.clone(), item));
        if let Some(second) = &comprehension.iter_var2 {
            self.bound.push((second.clone(), Type::Any));
        }
        let collected = if let Type::List(_) = result { Type::List(Box::new(Type::Any)) } else { result };
        self.bound.push((comprehension.accu_var.clone(), collected));
        let parts = [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result];
        let found = parts.map(|part| self.infer(part));
        self.bound.truncate(before);
        self.loops -= 1;
        let [condition, step, result] = found;
        condition?;
        step?;
        result
    }
}

impl Type {
    fn may_be(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Any, _) | (_, Type::Any) | (Type::Null, _) | (_, Type::Null) => true,
            (Type::Int | Type::Double, Type::Int | Type::Double) => true,
            (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => a.may_be(b),
            (a, b) => a == b,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Double | Type::Any)
    }

    fn has_order(&self) -> bool {
        matches!(self, Type::Int | Type::Double | Type::Text | Type::Bool | Type::Any)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "a truth value",
            Type::Int | Type::Double => "a number",
            Type::Text => "a string",
            Type::Null => "null",
            Type::List(_) => "a list",
            Type::Map(_) => "a map",
            Type::Any => "something",
        })
    }
}

fn is_group(name: &str) -> bool {
    FACTS.iter().any(|(path, ..)| path.split_once('.').is_some_and(|(group, _)| group == name))
}

fn fields_of(group: &str) -> String {
    let fields = FACTS.iter().filter_map(|(path, ..)| path.split_once('.').filter(|(own, _)| *own == group));
    fields.map(|(_, field)| format!("`{field}`")).collect::<Vec<_>>().join(", ")
}

fn names() -> String {
    let mut names: Vec<String> =
        FACTS.iter().map(|(path, ..)| format!("`{}`", path.split('.').next().unwrap_or(path))).collect();
    names.dedup();
    names.join(", ")
}
