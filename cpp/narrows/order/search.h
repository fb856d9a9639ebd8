// Plans graphs in the order that options ask for. In the memory order a peak is low and, as far as
// memory allows, work that can run in parallel stands side by side.
#pragma once

#include <span>

#include "narrows/order/repeats.h"
#include "narrows/order/settings.h"
#include "narrows/plan/plan.h"

namespace narrows {

// Lists the nodes behind the outputs in the order that planning under these options starts from.
// Under graph_mutex().
void list_nodes(std::span<const array> outputs, const OrderOptions& options, Tape& tape);

// Plans a listed tape under the options, and leaves it in the order of the plan. Under
// graph_mutex(). The policy "width" keeps the order. This is what "memory" does:
//
// The base is the best of several sequential orders that need little memory: width 20, width 1, and
// depth-first by need, each with nodes that free memory pulled forward. Where the backend gains
// from parallel work, waves of independent nodes are made of the base as long as they stay within a
// budget: 1/34 above the base's peak, or options.small_bytes if that is more, but at most the peak
// of width 20 and options.budget. The plan's peak is never above that of width 20's plan, and above
// that of width 1's plan by no more than this slack: the result is compared with both. (Where width
// 1's plan may differ from what is counted in the graph, it is made as well, up to 32768 nodes.)
// Apart from options.budget, the order depends only on the graph.
//
// If that exceeds options.budget and options.recompute is set, nodes run more than once, as nodes
// of their own (repeats.h), where this lowers the peak. The same is done for a strict memory limit
// if there is no budget. The result must live as long as the plan is used, or until it is kept.
//
// These orders and bounds are those of single nodes. Fusion comes last and never raises a peak. A
// graph that allocates at most options.small_bytes in all is planned in the order of width 20.
Repeats plan_listed(
    std::span<const array> outputs, const OrderOptions& options, Tape& tape, Plan& plan, bool fuse);

// Lists and plans the graph behind the outputs.
Repeats plan_graph(
    std::span<const array> outputs,
    const OrderOptions& options,
    Tape& tape,
    Plan& plan,
    bool fuse = false);

// The strict limit of the memory that the plan is made for, where it counts as a budget; else
// INT64_MAX.
int64_t limit_of(const Plan& plan, const OrderOptions& options);

// The lowest active memory that is found to suffice for a plan under the options, whatever their
// budget is. Under graph_mutex().
int64_t least_budget(std::span<const array> outputs, const OrderOptions& options, bool fuse);

} // namespace narrows
