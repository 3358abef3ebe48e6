(function () {
  "use strict";
  var byId = function (id) { return document.getElementById(id); };
  var ROW_PX = 34, MORE = 12;
  var form = byId("controls"), grid = byId("table"), shown = byId("shown");
  var table = grid.querySelector("table"), head = table.tHead, body = table.tBodies[0];
  var fields = ["search", "label", "source", "group", "condition", "least", "changed", "columns", "order", "rising"];
  var data, n, order = [], marked = 0, columns = [], pending = false;

  var element = function (name, text, kind) {
    var made = document.createElement(name);
    if (text !== undefined) { made.textContent = text; }
    if (kind) { made.className = kind; }
    return made;
  };
  var option = function (select, value, text) {
    var made = element("option", text);
    made.value = value;
    select.appendChild(made);
  };
  var points = function (thousandths) { return thousandths < 0 ? "" : (thousandths / 10).toFixed(thousandths < 100 ? 1 : 0); };

  // Which edit moved each image most; conditions that keep only a part of it are not among them.
  var largest = function () {
    var most = new Array(n).fill(-1), by = new Array(n).fill(-1);
    data.conditions.forEach(function (c, number) {
      if (!c.judged || c.role !== "edit") { return; }
      for (var i = 0; i < n; i += 1) { if (c.change[i] > most[i]) { most[i] = c.change[i]; by[i] = number; } }
    });
    return { change: most, by: by };
  };

  var start = function (found) {
    data = found;
    n = data.names.length;
    data.most = largest();
    var seen = function (column) { return Array.from(new Set(column)).sort(function (a, b) { return data.outcomes[a].localeCompare(data.outcomes[b]); }); };
    seen(data.label).forEach(function (v) { option(byId("label"), String(v), data.outcomes[v]); });
    seen(data.source).forEach(function (v) { option(byId("source"), String(v), data.outcomes[v]); });
    Object.keys(data.groups).forEach(function (name) {
      seen(data.groups[name]).forEach(function (v) { if (data.outcomes[v]) { option(byId("group"), JSON.stringify([name, v]), name + ": " + data.outcomes[v]); } });
    });
    Object.keys(data.words).forEach(function (word) { option(byId("group"), JSON.stringify(["text", word]), "text: " + word); });
    data.conditions.forEach(function (c, i) { option(byId("condition"), String(i), c.title); });
    var sorts = [["change", "largest shift"], ["image", "image"], ["label", "true class"], ["source", "source"], ["clean", "prediction"], ["run", "order of the run"]];
    sorts.forEach(function (pair) { option(byId("order"), pair[0], pair[1]); });
    data.conditions.forEach(function (c, i) { option(byId("order"), "c" + i, "shift: " + c.title); });
    restore();
    form.hidden = false;
    form.addEventListener("input", function () { choose(); });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("reset", function () { setTimeout(choose, 0); });
    grid.addEventListener("scroll", function () { if (!pending) { pending = true; requestAnimationFrame(draw); } });
    window.addEventListener("resize", draw);
    grid.addEventListener("keydown", keyed);
    window.addEventListener("hashchange", function () { restore(); choose(); });
    choose();
  };

  // The choice stands in the address, so that it can be kept and comes back with the page.
  var restore = function () {
    var said = new URLSearchParams(location.hash.slice(1));
    fields.forEach(function (id) {
      var one = byId(id), value = said.get(id);
      if (one.type === "checkbox") { one.checked = value === "1"; } else if (value !== null) { one.value = value; if (one.tagName === "SELECT" && one.selectedIndex < 0) { one.selectedIndex = 0; } }
    });
  };
  var remember = function () {
    var said = new URLSearchParams();
    fields.forEach(function (id) {
      var one = byId(id), value = one.type === "checkbox" ? (one.checked ? "1" : "") : one.value;
      if (value && !(one.tagName === "SELECT" && one.selectedIndex === 0)) { said.set(id, value); }
    });
    var text = String(said);
    history.replaceState(null, "", text ? "#" + text : location.pathname);
  };

  var choose = function () {
    var words = byId("search").value.trim().toLowerCase(), label = byId("label").value, source = byId("source").value;
    var group = byId("group").value ? JSON.parse(byId("group").value) : null, chosen = byId("condition").value;
    var least = Number(byId("least").value) * 10, changed = byId("changed").checked;
    var under = chosen === "" ? null : data.conditions[Number(chosen)];
    var member = !group ? null : group[0] === "text" ? data.words[group[1]] : data.groups[group[0]];
    var value = !group ? null : group[0] === "text" ? 1 : group[1];
    var fits = function (i) {
      if (label !== "" && data.label[i] !== Number(label)) { return false; }
      if (source !== "" && data.source[i] !== Number(source)) { return false; }
      if (member && member[i] !== value) { return false; }
      var moved = under ? under.change[i] : data.most.change[i];
      if ((under || least > 0) && moved < Math.max(least, 0)) { return false; }
      if (changed) {
        var differs = under ? under.predicted[i] >= 0 && under.predicted[i] !== data.clean[i] :
          data.conditions.some(function (c) { return c.judged && c.role === "edit" && c.predicted[i] >= 0 && c.predicted[i] !== data.clean[i]; });
        if (!differs) { return false; }
      }
      return !words || data.names[i].toLowerCase().indexOf(words) >= 0 ||
        [data.label[i], data.source[i], data.clean[i]].some(function (v) { return data.outcomes[v].toLowerCase().indexOf(words) >= 0; });
    };
    order = [];
    for (var i = 0; i < n; i += 1) { if (fits(i)) { order.push(i); } }
    sort(under);
    setHead(under);
    marked = 0;
    grid.scrollTop = 0;
    shown.textContent = order.length.toLocaleString("en") + " of " + n.toLocaleString("en") + " images";
    remember();
    draw();
  };

  var sort = function (under) {
    var key = byId("order").value || "change", sign = byId("rising").checked ? -1 : 1;
    var numbers = key === "change" ? (under ? under.change : data.most.change) : key[0] === "c" && key !== "clean" ? data.conditions[Number(key.slice(1))].change : null;
    if (numbers) { order.sort(function (a, b) { return sign * (numbers[b] - numbers[a]) || a - b; }); return; }
    if (key === "run") { if (sign < 0) { order.reverse(); } return; }
    var column = key === "image" ? null : data[key];
    var rank = column && data.outcomes.map(function (w, i) { return [w, i]; }).sort(function (a, b) { return a[0].localeCompare(b[0]); }).reduce(function (ranks, pair, place) { ranks[pair[1]] = place; return ranks; }, []);
    order.sort(function (a, b) {
      return sign * (column ? rank[column[a]] - rank[column[b]] : data.names[a] < data.names[b] ? -1 : data.names[a] > data.names[b] ? 1 : 0) || a - b;
    });
  };

  var setHead = function (under) {
    var how = byId("columns").value, heads;
    columns = [];
    data.conditions.forEach(function (c, i) { if (how === "all" || (how !== "none" && c.judged) || c === under) { columns.push(i); } });
    var narrow = window.innerWidth < 600;
    heads = [["Image", "image", narrow ? 104 : 180], ["True class", "label", narrow ? 96 : 110], ["Source", "source", narrow ? 90 : 110],
      ["Predicted, unedited", "clean", narrow ? 96 : 120], [under ? "Shift" : "Largest shift", "change", 80], [under ? "Predicted then" : "Edit of largest shift", null, 220]];
    columns.forEach(function (i) { heads.push([data.conditions[i].title, "c" + i, 130]); });
    var row = element("tr");
    row.setAttribute("aria-rowindex", "1");
    heads.forEach(function (one) {
      var cell = element("th");
      cell.scope = "col";
      cell.style.width = one[2] + "px";
      cell.title = one[0];
      if (one[1]) {
        var button = element("button", one[0]);
        button.type = "button";
        button.addEventListener("click", function () {
          var select = byId("order");
          if (select.value === one[1]) { byId("rising").checked = !byId("rising").checked; } else { select.value = one[1]; byId("rising").checked = false; }
          choose();
        });
        cell.appendChild(button);
        if (byId("order").value === one[1]) {
          var falls = one[1] === "change" || (one[1][0] === "c" && one[1] !== "clean");
          cell.setAttribute("aria-sort", falls !== byId("rising").checked ? "descending" : "ascending");
        }
      } else { cell.textContent = one[0]; }
      row.appendChild(cell);
    });
    head.replaceChildren(row);
    table.style.width = heads.reduce(function (sum, one) { return sum + one[2]; }, 0) + "px";
  };

  var address = function (i, condition) {
    return "case/" + encodeURIComponent(data.names[i]) + (condition ? "?condition=" + encodeURIComponent(condition) : "");
  };
  var outcome = function (text, kind) { var cell = element("td", undefined, kind); cell.appendChild(element("bdi", text)); cell.title = text; return cell; };

  var rowOf = function (place) {
    var i = order[place], chosen = byId("condition").value, row = element("tr");
    var number = chosen === "" ? data.most.by[i] : Number(chosen), condition = data.conditions[number];
    row.setAttribute("aria-rowindex", String(place + 2));
    if (place === marked) { row.className = "marked"; }
    var name = element("th"), link = element("a"), code = element("code", data.names[i]);
    name.scope = "row";
    link.href = address(i, condition && condition.name);
    link.tabIndex = -1;
    link.appendChild(code);
    name.appendChild(link);
    row.appendChild(name);
    row.appendChild(outcome(data.outcomes[data.label[i]]));
    row.appendChild(outcome(data.outcomes[data.source[i]]));
    row.appendChild(outcome(data.outcomes[data.clean[i]]));
    row.appendChild(element("td", condition ? points(condition.change[i]) : "", "num"));
    row.appendChild(chosen === "" ? outcome(condition ? condition.title : "no edit applied", condition ? "" : "none") :
      outcome(condition.predicted[i] < 0 ? "not applied" : data.outcomes[condition.predicted[i]], condition.predicted[i] === data.clean[i] ? "" : "moved"));
    columns.forEach(function (c) {
      var one = data.conditions[c];
      row.appendChild(one.predicted[i] < 0 ? outcome("not applied", "none") :
        outcome(data.outcomes[one.predicted[i]] + " " + points(one.change[i]), one.predicted[i] === data.clean[i] ? "" : "moved"));
    });
    return row;
  };
  var spacer = function (rows) {
    var row = element("tr", undefined, "spacer"), cell = element("td");
    row.setAttribute("aria-hidden", "true");
    cell.colSpan = 6 + columns.length;
    cell.style.height = rows * ROW_PX + "px";
    row.appendChild(cell);
    return row;
  };

  // Only rows that are in view, and a few more, are elements; the rest is empty space of the right height.
  var draw = function () {
    pending = false;
    var first = Math.max(0, Math.floor(grid.scrollTop / ROW_PX) - MORE);
    var last = Math.min(order.length, Math.ceil((grid.scrollTop + grid.clientHeight) / ROW_PX) + MORE);
    var rows = [];
    if (first > 0) { rows.push(spacer(first)); }
    for (var place = first; place < last; place += 1) { rows.push(rowOf(place)); }
    if (last < order.length) { rows.push(spacer(order.length - last)); }
    body.replaceChildren.apply(body, rows);
    table.setAttribute("aria-rowcount", String(order.length + 1));
  };

  var keyed = function (event) {
    if (event.target !== grid || event.ctrlKey || event.metaKey || event.altKey) { return; }
    var page = Math.max(1, Math.floor(grid.clientHeight / ROW_PX) - 3);
    var steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -n, End: n };
    if (event.key === "Enter" && order.length) {
      var chosen = byId("condition").value, i = order[marked], by = chosen === "" ? data.most.by[i] : Number(chosen);
      location.href = address(i, by >= 0 ? data.conditions[by].name : "");
      return;
    }
    if (!(event.key in steps) || !order.length) { return; }
    event.preventDefault();
    marked = Math.min(order.length - 1, Math.max(0, marked + steps[event.key]));
    var top = marked * ROW_PX, room = grid.clientHeight - head.offsetHeight - ROW_PX;
    if (top < grid.scrollTop) { grid.scrollTop = top; } else if (top > grid.scrollTop + room) { grid.scrollTop = top - room; }
    draw();
    shown.textContent = "Row " + (marked + 1) + " of " + order.length + ": image " + data.names[order[marked]];
  };

  fetch("images.json").then(function (answer) {
    return answer.ok ? answer.json() : answer.text().then(function (said) { throw new Error(said); });
  }).then(start).catch(function (error) {
    shown.textContent = "The images could not be loaded. " + (error instanceof TypeError ? "audit view was ended; start it again." : error.message);
  });
})();
