#include "enhance/samples.hpp"

#include <algorithm>
#include <cmath>

namespace sciflow::enhance {

namespace {

constexpr size_t SITES = 16;                   // places that are looked at
constexpr size_t LOOKED_AT = size_t{1} << 21;  // cells of them together, of which few become samples

size_t odd(size_t n) { return n | 1; }  // so that cells of both parities are met

int16_t cut_to(int32_t v, int32_t most) { return static_cast<int16_t>(std::clamp(v, -most, most)); }

// Those of the cell at `x` of a row, read from each source.
void add_features(const std::vector<Tile>& tiles, size_t z, size_t y, size_t x, int pairs, std::vector<int16_t>& out) {
    for (const Tile& tile : tiles) {
        const size_t at = out.size();
        out.resize(at + static_cast<size_t>(2 * pairs));
        int16_t* const f = out.data() + at;
        const int32_t* const t = tile.row(z, y) + x;
        for (int p = 0; p < pairs; ++p) {
            const ptrdiff_t step = tile.step(p);
            const int32_t u = t[step] - t[0], v = t[-step] - t[0];
            f[p] = static_cast<int16_t>(cut_to(u, LINEAR_CUT) + cut_to(v, LINEAR_CUT));
            f[pairs + p] = static_cast<int16_t>(cut_to(u, CLIPPED_CUT) + cut_to(v, CLIPPED_CUT));
        }
    }
    out.push_back(static_cast<int16_t>(BIAS));
}

}  // namespace

template <class T>
void add_samples(const Volume& volume, const Field<T>& original, const Field<T>& decoded, const Scale& scale,
                 std::span<const AuxArray> aux, size_t budget, Samples& samples) {
    const size_t planes = std::max<size_t>(1, LOOKED_AT / SITES / volume.plane());
    const std::vector<Part> all = cut(volume, std::min(planes, volume.nz));
    const size_t sites = std::min(SITES, all.size());
    const size_t seen = sites * std::min(planes, volume.nz) * volume.plane();
    const size_t every = odd(std::max<size_t>(1, seen / budget));
    const size_t every_row = volume.ny > 1 ? every : 1, every_cell = volume.ny > 1 ? 1 : every;
    std::vector<Tile> tiles(1 + samples.aux.size(), Tile(volume));
    Tile& tile = tiles[0];
    std::vector<int32_t> activity(volume.nx);
    for (size_t s = 0; s < sites; ++s) {
        const Part& part = all[(2 * s + 1) * all.size() / (2 * sites)];
        tile.load(decoded, scale, part);
        for (size_t a = 0; a < samples.aux.size(); ++a) tiles[1 + a].load(aux[a], samples.aux[a], part);
        tile.measure();
        for (size_t i = s % every_row; i < part.count * volume.ny; i += every_row) {
            const size_t z = i / volume.ny, y = i % volume.ny;
            const int32_t* t = tile.row(z, y);
            const uint8_t* hole = tile.holes(z, y);
            const T* x0 = original.data + part.slab * volume.slab() + (part.first + z) * volume.plane() + y * volume.nx;
            const T* y0 = decoded.data + (x0 - original.data);
            tile.activity(z, y, activity.data());
            for (size_t x = 0; x < volume.nx; x += every_cell) {
                const double r = std::rint((static_cast<double>(x0[x]) - static_cast<double>(y0[x])) / scale.unit);
                if ((hole && hole[x]) || !std::isfinite(r)) continue;
                add_features(tiles, z, y, x, PAIRS[samples.axes], samples.feature);
                samples.residual.push_back(static_cast<int16_t>(std::clamp(r, -32767.0, 32767.0)));
                samples.activity.push_back(activity[x]);
                samples.value.push_back(t[x]);
                const size_t odds = ((part.first + z) & 1) << 2 | (y & 1) << 1 | (x & 1);
                samples.parity.push_back(static_cast<uint8_t>(odds & ((size_t{1} << samples.axes) - 1)));
            }
        }
    }
}

template void add_samples<float>(const Volume&, const Field<float>&, const Field<float>&, const Scale&,
                                 std::span<const AuxArray>, size_t, Samples&);
template void add_samples<double>(const Volume&, const Field<double>&, const Field<double>&, const Scale&,
                                  std::span<const AuxArray>, size_t, Samples&);

}  // namespace sciflow::enhance
