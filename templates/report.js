(function () {
  "use strict";
  var all = function (selector, inside) { return Array.from((inside || document).querySelectorAll(selector)); };

  // A link to what lies in a folded section opens it, wherever the link stands.
  var reveal = function () {
    var target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) { return; }
    for (var up = target; up; up = up.parentElement) { if (up.tagName === "DETAILS") { up.open = true; } }
    var own = target.querySelector(":scope > details.fold");
    if (own) { own.open = true; }
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", reveal);
  all("a[href^='#']").forEach(function (link) {
    link.addEventListener("click", function () {
      var menu = link.closest(".menu");
      if (menu) { menu.open = false; }
      if (link.hash === location.hash) { reveal(); }
    });
  });
  reveal();

  // The navigation marks the section that is being read.
  var entries = {};
  all("nav a").forEach(function (link) { entries[link.hash.slice(1)] = link; });
  if (window.IntersectionObserver) {
    var watcher = new IntersectionObserver(function (seen) {
      seen.forEach(function (one) {
        if (!one.isIntersecting || !entries[one.target.id]) { return; }
        all("nav a[aria-current]").forEach(function (link) { link.removeAttribute("aria-current"); });
        entries[one.target.id].setAttribute("aria-current", "location");
      });
    }, { rootMargin: "-15% 0px -80% 0px" });
    all("main > section[id]").forEach(function (section) { watcher.observe(section); });
  }

  // Figures and cases can be shown as large as the window.
  if (window.HTMLDialogElement) {
    var dialog = document.createElement("dialog");
    dialog.setAttribute("aria-label", "Enlarged figure");
    document.body.appendChild(dialog);
    all(".zoomable, .case .pictures").forEach(function (figure) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "zoom";
      button.textContent = "Enlarge";
      var title = figure.querySelector("title, figcaption");
      button.setAttribute("aria-label", "Enlarge: " + (title ? title.textContent.trim().slice(0, 80) : "figure"));
      button.addEventListener("click", function () {
        var copy = figure.cloneNode(true);
        all(".zoom", copy).forEach(function (one) { one.remove(); });
        all("[id]", copy).forEach(function (one) { one.removeAttribute("id"); });
        all("[aria-labelledby]", copy).forEach(function (one) {
          one.setAttribute("aria-label", one.querySelector("title") ? one.querySelector("title").textContent : "figure");
          one.removeAttribute("aria-labelledby");
        });
        var close = document.createElement("button");
        close.type = "button";
        close.className = "zoom";
        close.textContent = "Close";
        close.addEventListener("click", function () { dialog.close(); });
        dialog.replaceChildren(close, copy);
        dialog.showModal();
      });
      figure.insertAdjacentElement(figure.tagName === "FIGURE" ? "beforeend" : "afterend", button);
    });
  }

  var filtered = function (bar, rows, fits, shown, what) {
    var choose = function () {
      rows.forEach(function (one) { one.hidden = !fits(one); });
      var left = rows.filter(function (one) { return !one.hidden; }).length;
      shown.textContent = left + " of " + rows.length + " " + what;
    };
    bar.hidden = false;
    all("select, input", bar).forEach(function (one) { one.addEventListener("input", choose); });
    choose();
  };
  var chosen = function (filters, one) {
    return filters.every(function (f) { return f.value === "" || one.dataset[f.dataset.field] === f.value; });
  };
  var byId = function (id) { return document.getElementById(id); };

  var bar = byId("controls-bar");
  if (bar) {
    var filters = all(".filter"), opacity = byId("opacity");
    filtered(bar, all(".case"), function (one) { return chosen(filters, one); }, byId("shown"), "cases");
    var show = function () { all(".overlay").forEach(function (map) { map.style.opacity = opacity.value / 100; }); };
    opacity.addEventListener("input", show);
    show();
  }

  var movedBar = byId("moved-bar");
  if (movedBar) {
    var rows = all(".moved tbody tr"), choices = all(".moved-filter"), search = byId("moved-search");
    var changed = byId("moved-changed"), order = byId("moved-order"), body = rows.length && rows[0].parentElement;
    order.addEventListener("input", function () {
      var key = order.value;
      rows.slice().sort(function (a, b) {
        return key === "change" ? b.dataset.change - a.dataset.change : a.dataset[key].localeCompare(b.dataset[key]);
      }).forEach(function (row) { body.appendChild(row); });
    });
    filtered(movedBar, rows, function (one) {
      var words = search.value.trim().toLowerCase();
      return chosen(choices, one) && (!changed.checked || one.dataset.changed === "yes") &&
        (!words || one.textContent.toLowerCase().indexOf(words) >= 0);
    }, byId("moved-shown"), "images");
  }

  var save = byId("save");
  if (save) {
    save.hidden = false;
    save.addEventListener("click", function () {
      var said = byId("saved"), reviewer = byId("reviewer").value.trim(), answers = [];
      all(".finding").forEach(function (one) {
        var answer = one.querySelector("input[type=radio]:checked"), comment = one.querySelector("input[type=text]").value;
        if (answer) { answers.push({ id: one.dataset.finding, answer: answer.value, comment: comment }); }
      });
      if (!reviewer || !answers.length) {
        said.textContent = reviewer ? "Answer at least one finding." : "Give your name.";
        return;
      }
      var review = {
        kind: "audit-signoff",
        evidence: document.querySelector("[data-evidence]").dataset.evidence,
        reviewer: reviewer,
        saved: new Date().toISOString(),
        findings: answers
      };
      var link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([JSON.stringify(review, null, 2)], { type: "application/json" }));
      link.download = "signoff.json";
      link.click();
      said.textContent = "Saved " + answers.length + " answers as signoff.json.";
    });
  }
  window.addEventListener("beforeprint", function () {
    all("#examples .case[open] img").forEach(function (image) { image.loading = "eager"; });
  });
})();
