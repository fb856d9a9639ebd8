#include "narrows/order/recompute_state.h"

#include <algorithm>

namespace narrows {

RecomputeState::RecomputeState(const RecomputeProblem& problem, const RecomputeRules& rules)
    : problem_(problem),
      rules_(rules),
      touches_(problem.roots.size()),
      clones_(problem.steps.size()),
      from_host_(problem.steps.size()),
      local_(problem.steps.size()),
      rekeeps_(problem.roots.size(), 0),
      memory_({}),
      on_host_(problem.roots.size(), 0),
      root_stamp_(problem.roots.size(), 0),
      step_stamp_(problem.steps.size(), 0),
      last_reader_(problem.roots.size()),
      stays_(problem.roots.size()) {
  const uint32_t steps = problem.step_count();
  for (uint32_t step = 0; step < steps; ++step) {
    for (uint32_t root : problem.makes[step]) {
      touches_[root].push_back({step, 0, true});
    }
    for (uint32_t root : problem.reads[step]) {
      touches_[root].push_back({step, 1, false});
    }
  }
  // Differences from step to step, of what lives across a step.
  std::vector<int64_t> across(steps + 1, 0);
  std::vector<int64_t> undroppable(steps + 1, 0);
  for (uint32_t root = 0; root < touches_.size(); ++root) {
    const int64_t bytes = problem.roots[root].bytes;
    const bool can_drop = problem.can_drop(root);
    for (size_t i = 0; i < touches_[root].size(); ++i) {
      const int64_t from = step_before(root, i);
      const uint32_t to = touches_[root][i].step;
      if (!touches_[root][i].dropped && to > from + 1) {
        across[from + 1] += bytes;
        across[to] -= bytes;
        undroppable[from + 1] += can_drop ? 0 : bytes;
        undroppable[to] -= can_drop ? 0 : bytes;
      }
    }
  }
  std::vector<int64_t> memory(steps);
  int64_t live = 0;
  int64_t lowest = 0;
  for (uint32_t step = 0; step < steps; ++step) {
    live += across[step];
    lowest += undroppable[step];
    local_[step] = count_local(step);
    memory[step] = problem.kept[step] + live + local_[step];
    undroppable_.push_back(problem.kept[step] + lowest);
  }
  memory_ = MaxTree(memory);
}

size_t RecomputeState::touch_at(uint32_t root, uint32_t step) const {
  const std::vector<Touch>& touches = touches_[root];
  const auto before = [](const Touch& touch, uint32_t at) { return touch.step < at; };
  return static_cast<size_t>(
      std::lower_bound(touches.begin(), touches.end(), step, before) - touches.begin());
}

bool RecomputeState::has_gap(Gap gap, bool dropped) const {
  const size_t at = touch_at(gap.root, gap.end);
  const std::vector<Touch>& touches = touches_[gap.root];
  return at > 0 && at < touches.size() && touches[at].step == gap.end &&
         touches[at].dropped == dropped;
}

std::vector<RecomputeState::Gap> RecomputeState::dropped_gaps() const {
  std::vector<Gap> gaps;
  for (uint32_t step = 0; step < clones_.size(); ++step) {
    for (uint32_t of : clones_[step]) {
      for (uint32_t root : problem_.makes[of]) {
        if (has_gap({root, step}, true)) {
          gaps.push_back({root, step});
        }
      }
    }
  }
  return gaps;
}

// Whether the root lives on behind a touch.
bool RecomputeState::stays(uint32_t root, size_t touch) const {
  return touch + 1 < touches_[root].size() && !touches_[root][touch + 1].dropped;
}

// Whether bytes more can be held at all steps between two.
bool RecomputeState::fits(int64_t from, uint32_t to, int64_t bytes) const {
  return to <= from + 1 ||
         memory_.highest(static_cast<size_t>(from + 1), to) + bytes <= rules_.budget;
}

bool RecomputeState::has_clone(uint32_t step, uint32_t of) const {
  return std::binary_search(clones_[step].begin(), clones_[step].end(), of);
}

// `touch` is the root's first at the step or later.
RecomputeState::Source RecomputeState::source_of(
    uint32_t root, uint32_t step, size_t touch, int64_t saving) const {
  const std::vector<Touch>& touches = touches_[root];
  if (touch < touches.size() && (touches[touch].step == step || !touches[touch].dropped)) {
    return Source::there;
  }
  const int64_t bytes = problem_.roots[root].bytes;
  const bool is_small =
      static_cast<double>(bytes) <= rules_.small_share * static_cast<double>(saving);
  return is_small || !problem_.can_drop(root) || fits(step_before(root, touch), step, bytes)
             ? Source::kept_longer
             : Source::made_again;
}

bool RecomputeState::is_kept_again(uint32_t root, uint32_t from, uint32_t to) const {
  return fits(from, to, problem_.roots[root].bytes) ||
         (rekeeps_[root] < rules_.most_rekeeps && to - from <= rules_.window);
}

// Bytes that a clone makes besides what it stands there for. They die when it has run: what lives
// there already is counted as such, although it is what the clone makes that is read from then on.
int64_t RecomputeState::not_wanted(uint32_t clone, uint32_t step) const {
  int64_t bytes = 0;
  for (const uint32_t root : problem_.makes[clone]) {
    const size_t at = touch_at(root, step);
    const bool is_wanted =
        at < touches_[root].size() && touches_[root][at].step == step && touches_[root][at].dropped;
    bytes += is_wanted ? 0 : problem_.roots[root].bytes;
  }
  return bytes;
}

// The most that the roots touched at the step hold while its clones and the step run.
int64_t RecomputeState::count_local(uint32_t step) {
  const std::vector<uint32_t>& clones = clones_[step];
  const uint32_t count = static_cast<uint32_t>(clones.size());
  const auto runs = [&](uint32_t i) { return i < count ? clones[i] : step; };
  const auto copies = [&](uint32_t i) { return i < count && is_from_host(clones[i], step); };
  int64_t live = 0;
  ++stamp_;
  for (uint32_t i = 0; i <= count; ++i) {
    if (copies(i)) {
      continue;
    }
    for (uint32_t root : problem_.reads[runs(i)]) {
      if (std::exchange(root_stamp_[root], stamp_) != stamp_) {
        const size_t touch = touch_at(root, step);
        live += touches_[root][touch].dropped ? 0 : problem_.roots[root].bytes;
        stays_[root] = stays(root, touch);
      }
      last_reader_[root] = i;
    }
  }
  int64_t peak = live;
  work += 4 + 8 * count;
  for (uint32_t i = 0; i <= count; ++i) {
    const uint32_t running = runs(i);
    if (copies(i)) {
      live += problem_.steps[running].allocated;
      peak = std::max(peak, live);
      continue;
    }
    const auto ends = [&](uint32_t root) { return last_reader_[root] == i && !stays_[root]; };
    uint32_t donor = kNone;
    for (uint32_t at = problem_.reads.first[running];
         at < problem_.reads.first[running + 1] && donor == kNone;
         ++at) {
      const uint32_t root = problem_.reads.items[at];
      donor = problem_.can_donate[at] && ends(root) ? root : kNone;
    }
    live += problem_.steps[running].allocated;
    live -= donor == kNone ? 0 : problem_.roots[donor].bytes;
    peak = std::max(peak, live + problem_.steps[running].transient);
    for (uint32_t root : problem_.reads[running]) {
      live -= root != donor && ends(root) ? problem_.roots[root].bytes : 0;
    }
    if (i < count && problem_.makes[running].size() > 1) {
      live -= not_wanted(running, step);
    }
  }
  return peak;
}

size_t RecomputeState::begin() {
  ++depth_;
  return journal_.size();
}

void RecomputeState::commit() {
  if (--depth_ == 0) {
    journal_.clear();
  }
}

void RecomputeState::roll_back(size_t to) {
  const int depth = std::exchange(depth_, 0); // nothing is noted meanwhile
  for (size_t i = journal_.size(); i-- > to;) {
    const Entry& entry = journal_[i];
    std::vector<Touch>& touches = touches_[entry.change < Change::bytes ? entry.a : 0];
    switch (entry.change) {
      case Change::touch_added:
        touches.erase(touches.begin() + entry.b);
        break;
      case Change::touch_removed:
        touches.insert(touches.begin() + entry.b, entry.touch);
        break;
      case Change::touch_set:
        touches[entry.b] = entry.touch;
        break;
      case Change::bytes:
        memory_.add(entry.a, entry.b, -entry.bytes);
        break;
      case Change::local:
        local_[entry.a] = entry.bytes;
        break;
      case Change::clone:
        remove_clone(entry.a, entry.b);
        break;
      case Change::unclone:
        add_clone(entry.a, entry.b);
        break;
      case Change::from_host:
        set_from_host(entry.a, entry.b, false);
        break;
      case Change::not_from_host:
        set_from_host(entry.a, entry.b, true);
        break;
    }
  }
  journal_.resize(to);
  changed_.clear();
  new_gaps_.clear();
  depth_ = depth - 1;
}

void RecomputeState::add_touch(uint32_t root, size_t at, Touch touch) {
  touches_[root].insert(touches_[root].begin() + at, touch);
  note({Change::touch_added, root, static_cast<uint32_t>(at), {}, 0});
}

void RecomputeState::remove_touch(uint32_t root, size_t at) {
  note({Change::touch_removed, root, static_cast<uint32_t>(at), touches_[root][at], 0});
  touches_[root].erase(touches_[root].begin() + at);
}

void RecomputeState::set_touch(uint32_t root, size_t at, Touch touch) {
  note({Change::touch_set, root, static_cast<uint32_t>(at), touches_[root][at], 0});
  touches_[root][at] = touch;
}

void RecomputeState::add_bytes(int64_t first, int64_t last, int64_t bytes) {
  if (first < last) {
    memory_.add(static_cast<size_t>(first), static_cast<size_t>(last), bytes);
    note({Change::bytes, static_cast<uint32_t>(first), static_cast<uint32_t>(last), {}, bytes});
  }
}

// At the steps between two.
void RecomputeState::add_span(int64_t from, uint32_t to, int64_t bytes) {
  add_bytes(from + 1, to, bytes);
}

void RecomputeState::set_local(uint32_t step, int64_t bytes) {
  add_bytes(step, step + 1, bytes - local_[step]);
  note({Change::local, step, 0, {}, local_[step]});
  local_[step] = bytes;
}

void RecomputeState::add_clone(uint32_t step, uint32_t of) {
  std::vector<uint32_t>& clones = clones_[step];
  clones.insert(std::lower_bound(clones.begin(), clones.end(), of), of);
  extra_cost_ += problem_.steps[of].cost;
  note({Change::clone, step, of, {}, 0});
}

void RecomputeState::remove_clone(uint32_t step, uint32_t of) {
  std::vector<uint32_t>& clones = clones_[step];
  clones.erase(std::lower_bound(clones.begin(), clones.end(), of));
  extra_cost_ -= problem_.steps[of].cost;
  note({Change::unclone, step, of, {}, 0});
}

// Of a clone that stands there.
void RecomputeState::set_from_host(uint32_t step, uint32_t of, bool from_host) {
  std::vector<uint32_t>& copies = from_host_[step];
  const uint32_t root = problem_.makes[of][0];
  const double beyond = problem_.host_costs[root] - problem_.steps[of].cost;
  if (from_host) {
    copies.push_back(of);
    extra_cost_ += beyond;
    host_bytes_ += on_host_[root]++ == 0 ? problem_.roots[root].bytes : 0;
  } else {
    copies.erase(std::find(copies.begin(), copies.end(), of));
    extra_cost_ -= beyond;
    host_bytes_ -= --on_host_[root] == 0 ? problem_.roots[root].bytes : 0;
  }
  note({from_host ? Change::from_host : Change::not_from_host, step, of, {}, 0});
}

const std::vector<uint32_t>& RecomputeState::changed_steps() {
  std::sort(changed_.begin(), changed_.end());
  changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
  return changed_;
}

bool RecomputeState::settle() {
  bool good = true;
  for (uint32_t step : changed_steps()) {
    const int64_t bytes = count_local(step);
    good &= bytes <= local_[step] || bytes + undroppable_[step] <= rules_.budget;
    if (bytes != local_[step]) {
      set_local(step, bytes);
    }
  }
  work += 20.0 * static_cast<double>(changed_.size());
  changed_.clear();
  return good;
}

void RecomputeState::drop(Gap gap, bool to_host) {
  const size_t at = touch_at(gap.root, gap.end);
  Touch touch = touches_[gap.root][at];
  const uint32_t before = touches_[gap.root][at - 1].step;
  add_span(before, gap.end, -problem_.roots[gap.root].bytes);
  touch.dropped = true;
  set_touch(gap.root, at, touch);
  mark(before);
  mark(gap.end);
  const int64_t saving = problem_.roots[gap.root].bytes;
  tasks_.push_back({Task::release, gap.root, before, 0});
  const Task task = to_host ? Task::clone_from_host : Task::clone;
  tasks_.push_back({task, problem_.roots[gap.root].maker, gap.end, saving});
  run_tasks();
}

void RecomputeState::move_to_host(Gap gap) {
  const uint32_t maker = problem_.roots[gap.root].maker;
  set_from_host(gap.end, maker, true);
  mark(gap.end);
  unread(maker, gap.end);
  run_tasks();
}

void RecomputeState::copy_earlier(Gap gap, uint32_t step) {
  const uint32_t maker = problem_.roots[gap.root].maker;
  const size_t at = touch_at(gap.root, gap.end);
  Touch touch = touches_[gap.root][at];
  touch.dropped = false;
  set_touch(gap.root, at, touch);
  add_touch(gap.root, at, {step, 0, true});
  add_span(step, gap.end, problem_.roots[gap.root].bytes);
  set_from_host(gap.end, maker, false);
  remove_clone(gap.end, maker);
  add_clone(step, maker);
  set_from_host(step, maker, true);
  mark(step);
  mark(gap.end);
}

bool RecomputeState::could_keep(Gap gap) const {
  int64_t freed = 0; // by inputs of the clone that need not be there any longer
  for (const uint32_t root : problem_.reads[problem_.roots[gap.root].maker]) {
    freed += problem_.roots[root].bytes;
  }
  const int64_t before = step_before(gap.root, touch_at(gap.root, gap.end));
  return fits(before, gap.end, problem_.roots[gap.root].bytes - freed);
}

void RecomputeState::keep(Gap gap) {
  start_keeping(gap);
  run_tasks();
}

void RecomputeState::start_keeping(Gap gap) {
  const size_t at = touch_at(gap.root, gap.end);
  Touch touch = touches_[gap.root][at];
  touch.dropped = false;
  set_touch(gap.root, at, touch);
  add_span(step_before(gap.root, at), gap.end, problem_.roots[gap.root].bytes);
  mark(step_before(gap.root, at));
  mark(gap.end);
  tasks_.push_back({Task::release, gap.root, gap.end, 0});
  tasks_.push_back({Task::unclone, problem_.roots[gap.root].maker, gap.end, 0});
}

// What one change brings about is done from the latest to the earliest: chains can be long.
void RecomputeState::run_tasks() {
  while (!tasks_.empty()) {
    const Pending pending = tasks_.back();
    tasks_.pop_back();
    work += 20;
    switch (pending.task) {
      case Task::clone:
        clone(pending.id, pending.at, pending.saving);
        break;
      case Task::clone_from_host:
        clone_from_host(pending.id, pending.at, pending.saving);
        break;
      case Task::unclone:
        unclone(pending.id, pending.at);
        break;
      case Task::release:
        release(pending.id, pending.at);
        break;
    }
  }
}

void RecomputeState::clone(uint32_t of, uint32_t step, int64_t saving) {
  if (has_clone(step, of)) {
    return;
  }
  add_clone(step, of);
  mark(step);
  for (uint32_t root : problem_.reads[of]) {
    read(root, step, saving);
  }
}

void RecomputeState::clone_from_host(uint32_t of, uint32_t step, int64_t saving) {
  if (!has_room_on_host(problem_.makes[of][0])) {
    clone(of, step, saving);
  } else if (!has_clone(step, of)) {
    add_clone(step, of);
    set_from_host(step, of, true);
    mark(step);
  }
}

// One more clone in front of the step reads the root.
void RecomputeState::read(uint32_t root, uint32_t step, int64_t saving) {
  const size_t at = touch_at(root, step);
  mark(step);
  if (at < touches_[root].size() && touches_[root][at].step == step) {
    Touch touch = touches_[root][at];
    ++touch.reads;
    set_touch(root, at, touch);
    return;
  }
  const Source source = source_of(root, step, at, saving);
  const int64_t before = step_before(root, at);
  const int64_t bytes = problem_.roots[root].bytes;
  add_touch(root, at, {step, 1, source == Source::made_again});
  switch (source) {
    case Source::there:
      add_bytes(step, step + 1, -bytes); // it is one of those touched there now
      new_gaps_.push_back({root, step});
      new_gaps_.push_back({root, touches_[root][at + 1].step});
      return;
    case Source::kept_longer:
      add_span(before, step, bytes);
      mark(before);
      new_gaps_.push_back({root, step});
      break;
    case Source::made_again:
      break;
  }
  if (at + 1 < touches_[root].size() && touches_[root][at + 1].dropped) {
    const uint32_t later = touches_[root][at + 1].step;
    if (is_kept_again(root, step, later)) {
      rekeeps_[root] += fits(step, later, bytes) ? 0 : 1;
      start_keeping({root, later});
      new_gaps_.push_back({root, later});
    }
  }
  if (source == Source::made_again) {
    const Task task = problem_.is_cheaper_on_host(root) ? Task::clone_from_host : Task::clone;
    tasks_.push_back({task, problem_.roots[root].maker, step, saving});
  }
}

// A clone goes if nothing that it makes is wanted.
void RecomputeState::unclone(uint32_t of, uint32_t step) {
  for (uint32_t root : problem_.makes[of]) {
    const size_t at = touch_at(root, step);
    if (at < touches_[root].size() && touches_[root][at].step == step &&
        touches_[root][at].dropped) {
      return;
    }
  }
  if (!has_clone(step, of)) {
    return;
  }
  const bool from_host = is_from_host(of, step);
  if (from_host) {
    set_from_host(step, of, false);
  }
  remove_clone(step, of);
  mark(step);
  if (!from_host) {
    unread(of, step);
  }
}

// What a clone reads has one reader less at the step.
void RecomputeState::unread(uint32_t of, uint32_t step) {
  for (uint32_t root : problem_.reads[of]) {
    const size_t at = touch_at(root, step);
    Touch touch = touches_[root][at];
    --touch.reads;
    set_touch(root, at, touch);
    if (touch.reads == 0) {
      tasks_.push_back({Task::release, root, step, 0});
    }
  }
}

// A touch goes that nobody reads at, unless the root is made there for a later one.
void RecomputeState::release(uint32_t root, uint32_t step) {
  const size_t at = touch_at(root, step);
  if (at == touches_[root].size() || touches_[root][at].step != step ||
      touches_[root][at].reads > 0 || problem_.roots[root].maker == step) {
    return;
  }
  const bool lives_on = stays(root, at);
  const int64_t bytes = problem_.roots[root].bytes;
  mark(step);
  if (touches_[root][at].dropped) {
    if (!lives_on) {
      remove_touch(root, at);
      tasks_.push_back({Task::unclone, problem_.roots[root].maker, step, 0});
    }
    return;
  }
  const int64_t before = step_before(root, at);
  remove_touch(root, at);
  if (lives_on) {
    add_bytes(step, step + 1, bytes);
    return;
  }
  add_span(before, step, -bytes);
  mark(before);
  if (before >= 0) {
    tasks_.push_back({Task::release, root, static_cast<uint32_t>(before), 0});
  }
}

} // namespace narrows
