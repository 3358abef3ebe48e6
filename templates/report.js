(function () {
  "use strict";
  var bar = document.getElementById("controls-bar");
  if (bar) {
    bar.hidden = false;
    var filter = document.getElementById("filter");
    var opacity = document.getElementById("opacity");
    filter.addEventListener("change", function () {
      document.querySelectorAll(".case").forEach(function (one) {
        one.hidden = filter.value !== "" && one.dataset.condition !== filter.value;
      });
    });
    var show = function () {
      document.querySelectorAll(".overlay").forEach(function (map) {
        map.style.opacity = opacity.value / 100;
      });
    };
    opacity.addEventListener("input", show);
    show();
  }
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("#examples .case[open] img").forEach(function (image) { image.loading = "eager"; });
  });
})();
