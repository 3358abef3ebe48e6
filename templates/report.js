(function () {
  "use strict";
  var bar = document.getElementById("controls-bar");
  if (bar) {
    bar.hidden = false;
    var opacity = document.getElementById("opacity");
    var filters = Array.from(document.querySelectorAll(".filter"));
    var cases = Array.from(document.querySelectorAll(".case"));
    var choose = function () {
      cases.forEach(function (one) {
        one.hidden = filters.some(function (f) { return f.value !== "" && one.dataset[f.dataset.field] !== f.value; });
      });
      var left = cases.filter(function (one) { return !one.hidden; }).length;
      document.getElementById("shown").textContent = left + " of " + cases.length + " cases";
    };
    filters.forEach(function (f) { f.addEventListener("change", choose); });
    var show = function () {
      document.querySelectorAll(".overlay").forEach(function (map) { map.style.opacity = opacity.value / 100; });
    };
    opacity.addEventListener("input", show);
    choose();
    show();
  }
  var save = document.getElementById("save");
  if (save) {
    save.hidden = false;
    save.addEventListener("click", function () {
      var said = document.getElementById("saved");
      var reviewer = document.getElementById("reviewer").value.trim();
      var answers = [];
      document.querySelectorAll(".finding").forEach(function (one) {
        var chosen = one.querySelector("input[type=radio]:checked");
        var comment = one.querySelector("input[type=text]").value;
        if (chosen) { answers.push({ id: one.dataset.finding, answer: chosen.value, comment: comment }); }
      });
      if (!reviewer || !answers.length) {
        said.textContent = reviewer ? "Answer at least one finding." : "Give your name.";
        return;
      }
      var review = {
        kind: "audit-signoff",
        evidence: document.getElementById("signoff").dataset.evidence,
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
    document.querySelectorAll("#examples .case[open] img").forEach(function (image) { image.loading = "eager"; });
  });
})();
