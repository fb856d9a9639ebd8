// The memory order: a graph planned so that its peak is low and, within what that leaves, work
// that can run in parallel stands side by side.
#pragma once

#include <span>

#include "narrows/order/repeats.h"
#include "narrows/order/settings.h"
#include "narrows/plan/plan.h"

namespace narrows {

// Plans the graph behind the outputs in the width-limited order. Under graph_mutex().
void plan_by_width(
    std::span<const array> outputs, int64_t width, Tape& tape, Plan& plan, bool fuse = false);

// Plans it by bytes. Under graph_mutex().
//
// The best of several low-memory sequential orders (width 20, width 1, depth-first by need, each
// with what frees memory pulled forward) is the base; where the backend gains from parallel work,
// waves of independent nodes are made of it as long as they stay within a budget: 1/34 above the
// base's peak, or options.small_bytes if that is more; at most the peak of width 20, at most
// options.budget. The plan's peak is never above that of width 20's plan, and above that of width
// 1's by no more than this slack: the result is held against both. (Where width 1's plan may differ
// from what is counted in the graph it is made, too, up to 32768 nodes.) But for options.budget,
// the order depends on the graph alone.
//
// Where that passes options.budget and options.recompute is set, nodes run more than once, as nodes
// of their own (repeats.h), if that lowers the peak. The same is done for a strict memory limit
// where there is no budget. What is returned must live as long as the plan is used, or until it is
// kept.
//
// The order is that of single nodes, and these are its bounds; fusion, in the end, never raises a
// peak. A graph that allocates no more than options.small_bytes in all is planned in the order of
// width 20.
Repeats plan_for_memory(
    std::span<const array> outputs,
    const OrderOptions& options,
    Tape& tape,
    Plan& plan,
    bool fuse = false);

// The lowest active memory that is found to suffice for a plan under the options, whatever their
// budget is. Under graph_mutex().
int64_t least_budget(std::span<const array> outputs, const OrderOptions& options, bool fuse);

} // namespace narrows
