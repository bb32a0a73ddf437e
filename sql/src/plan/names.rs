//! Names of columns that the text gives none: Flink's (`EXPR$0`), and those of fields of ROWs.

use std::collections::HashSet;

use sqlparser::ast::{self, Expr, Ident, SelectItem, TableFactor, TableWithJoins};

use super::rewrite::take;

/// Flink names a column without a name `EXPR$n`, and the second `a` of a list `a0`.
pub(super) fn name_columns(select: &mut ast::Select) {
    let mut tables = HashSet::new();
    select.from.iter().for_each(|from| name_tables(from, &mut tables));
    let mut taken: HashSet<String> = HashSet::new();
    for (index, item) in select.projection.iter_mut().enumerate() {
        let name = match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value.clone(),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => {
                idents.last().map_or_else(String::new, |ident| ident.value.clone())
            }
            SelectItem::UnnamedExpr(_) => format!("EXPR${index}"),
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            _ => continue,
        };
        let free = if taken.contains(&name) {
            (0..).map(|n| format!("{name}{n}")).find(|name| !taken.contains(name)).unwrap_or(name.clone())
        } else {
            name.clone()
        };
        taken.insert(free.clone());
        let has_name = match item {
            SelectItem::UnnamedExpr(Expr::Identifier(_)) => true,
            // A field of a ROW is planned under all of its path.
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => {
                idents.len() == 2 && tables.contains(&idents[0].value)
            }
            SelectItem::UnnamedExpr(_) => false,
            _ => true,
        };
        if has_name && free == name {
            continue;
        }
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            *item = SelectItem::ExprWithAlias { expr: take(expr), alias: Ident::new(free) };
        }
    }
}

/// The names by which columns of `from` are qualified.
fn name_tables(from: &TableWithJoins, tables: &mut HashSet<String>) {
    let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    for factor in factors {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::TableFunction { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::MatchRecognize { alias: Some(alias), .. } => {
                tables.insert(alias.name.value.clone());
            }
            TableFactor::Table { name, alias: None, .. } => {
                let last = name.0.last().and_then(|part| part.as_ident());
                tables.extend(last.map(|ident| ident.value.clone()));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => name_tables(table_with_joins, tables),
            _ => {}
        }
    }
}
