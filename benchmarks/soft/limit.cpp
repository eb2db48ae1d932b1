// The forward substep of benchmarks/soft/problem.py by hand for one core: what the hardware allows, to judge our kernels by.
//
// Sixteen particles at a time wherever particles are independent (SVD, plastic flow, stress), by GCC's vector types, which
// become AVX-512, AVX2 or whatever there is. Particles come sorted by cell, so that the nodes of a cell's particles stay in
// registers: nine rows of four nodes, four numbers (momentum, mass) a node.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr int W = 16;

typedef float Real;
typedef Real Lane __attribute__((vector_size(W * sizeof(Real))));  // sixteen particles, or four nodes of four numbers
typedef Real Row __attribute__((vector_size(W * sizeof(Real)), aligned(sizeof(Real)), may_alias));
typedef Real Four __attribute__((vector_size(4 * sizeof(Real))));
constexpr int SWEEPS = 3;  // of Jacobi's method for singular values: a fourth changes the result by 1e-6

struct Limit {

  struct Tile {  // W particles
    Lane x[3], v[3], C[9], F[9];
  };

  static Lane all(Real value) {
    Lane out;
    for (int l = 0; l < W; l++) out[l] = value;
    return out;
  }
  template <class Function>
  static Lane each(Lane a, Function f) {
    alignas(64) Real in[W], out[W];
    std::memcpy(in, &a, sizeof a);
#pragma omp simd
    for (int l = 0; l < W; l++) out[l] = f(in[l]);
    Lane result;
    std::memcpy(&result, out, sizeof out);
    return result;
  }
  static Lane root(Lane a) { return each(a, [](Real r) { return std::sqrt(r); }); }
  static Lane largest(Lane a, Lane b) { return a > b ? a : b; }

  // one Jacobi rotation of the symmetric S in the plane (p, q), r the third axis; V collects the eigenvectors in its columns
  static void rotate(Lane &pp, Lane &qq, Lane &pq, Lane &pr, Lane &qr, Lane *V, int p, int q) {
    Lane d = qq - pp, o = pq + pq;
    Lane size = root(d * d + o * o) + (d < 0 ? -d : d) + Real(1e-30);
    Lane t = (d < 0 ? -o : o) / size;
    Lane c = all(1) / root(t * t + 1), s = t * c;
    pp -= t * pq;
    qq += t * pq;
    pq = all(0);
    Lane a = pr, b = qr;
    pr = c * a - s * b;
    qr = s * a + c * b;
    for (int i = 0; i < 3; i++) {
      Lane vp = V[3 * i + p], vq = V[3 * i + q];
      V[3 * i + p] = c * vp - s * vq;
      V[3 * i + q] = s * vp + c * vq;
    }
  }

  int n, tiles, cells, substeps;
  Real mass, mu, lam, yield_limit, dt, dx, inv_dx, stress_scale;
  Real ground, ground_friction, gravity[3];
  Real capsule[2][6];
  std::vector<Tile> particles;
  std::vector<Real> grid;  // (node, 4)
  int low[3], high[3];     // box of nodes that particles touch, the high ones left out

  Real *node(int i, int j, int k) { return &grid[4 * ((size_t(i) * cells + j) * cells + k)]; }

  void find_box() {
    Real least[3] = {1e9, 1e9, 1e9}, most[3] = {-1e9, -1e9, -1e9};
    for (int t = 0; t < tiles; t++)
      for (int d = 0; d < 3; d++)
        for (int l = 0; l < W; l++) {
          least[d] = std::min(least[d], particles[t].x[d][l]);
          most[d] = std::max(most[d], particles[t].x[d][l]);
        }
    for (int d = 0; d < 3; d++) {
      low[d] = int(std::floor(least[d] * inv_dx - Real(0.5)));
      high[d] = int(std::floor(most[d] * inv_dx - Real(0.5))) + 3;
    }
  }

  struct Weights {
    Real w[3][3][W], f[3][W];
    int base[3][W];
  };

  void weigh(const Tile &tile, Weights &out) {
    for (int d = 0; d < 3; d++) {
      alignas(64) Real x[W];
      std::memcpy(x, &tile.x[d], sizeof x);
#pragma omp simd
      for (int l = 0; l < W; l++) {
        Real place = x[l] * inv_dx, base = std::floor(place - Real(0.5)), f = place - base;
        Real a = Real(1.5) - f, b = f - 1, c = f - Real(0.5);
        out.base[d][l] = int(base);
        out.f[d][l] = f;
        out.w[d][0][l] = Real(0.5) * a * a;
        out.w[d][1][l] = Real(0.75) - b * b;
        out.w[d][2][l] = Real(0.5) * c * c;
      }
    }
  }

  // the affine momentum m C - dt V0 4 / dx^2 tau of a tile, times dx, and its new deformation gradient
  void stress(Tile &tile, Lane *A) {
    Lane F[9], S[6], V[9], B[9];
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++)
        F[3 * i + j] =
            tile.F[3 * i + j] + dt * (tile.C[3 * i] * tile.F[j] + tile.C[3 * i + 1] * tile.F[3 + j] + tile.C[3 * i + 2] * tile.F[6 + j]);
    auto dot = [&](int a, int b) { return F[a] * F[b] + F[3 + a] * F[3 + b] + F[6 + a] * F[6 + b]; };
    S[0] = dot(0, 0), S[1] = dot(1, 1), S[2] = dot(2, 2), S[3] = dot(0, 1), S[4] = dot(0, 2), S[5] = dot(1, 2);
    for (int i = 0; i < 9; i++) V[i] = all(i % 4 == 0 ? 1 : 0);
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
      rotate(S[0], S[1], S[3], S[4], S[5], V, 0, 1);
      rotate(S[0], S[2], S[4], S[3], S[5], V, 0, 2);
      rotate(S[1], S[2], S[5], S[3], S[4], V, 1, 2);
    }
    Lane sigma[3], eps[3], g[3];
    for (int i = 0; i < 3; i++) {
      sigma[i] = root(largest(S[i], all(Real(1e-12))));
      eps[i] = each(largest(sigma[i], all(Real(0.0078125))), [](Real r) { return std::log(r); });
    }
    Lane mean = (eps[0] + eps[1] + eps[2]) / Real(3), square = all(Real(1e-20));
    for (int i = 0; i < 3; i++) eps[i] -= mean, square += eps[i] * eps[i];
    Lane k = yield_limit / (2 * mu) / root(square);
    bool yields = false;
    for (int l = 0; l < W; l++) yields |= k[l] < 1;
    for (int i = 0; i < 3; i++) g[i] = sigma[i];
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++) B[3 * i + j] = F[3 * i] * V[j] + F[3 * i + 1] * V[3 + j] + F[3 * i + 2] * V[6 + j];
    if (yields) {
      Lane ratio[3];
      for (int i = 0; i < 3; i++) {
        Lane flowed = each(mean + k * eps[i], [](Real r) { return std::exp(r); });
        g[i] = k < 1 ? flowed : sigma[i];
        ratio[i] = g[i] / sigma[i];
      }
      for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
          Lane whole = all(0);
          for (int c = 0; c < 3; c++) whole += B[3 * i + c] * ratio[c] * V[3 * j + c];
          F[3 * i + j] = k < 1 ? whole : F[3 * i + j];
        }
    }
    std::memcpy(tile.F, F, sizeof F);
    Lane J = g[0] * g[1] * g[2], bulk = lam * J * (J - 1), t[3];
    for (int i = 0; i < 3; i++) t[i] = (2 * mu * (g[i] - 1) * g[i] + bulk) / largest(S[i], all(Real(1e-12)));
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++) {
        Lane tau = all(0);
        for (int c = 0; c < 3; c++) tau += t[c] * B[3 * i + c] * B[3 * j + c];
        A[3 * i + j] = (mass * tile.C[3 * i + j] - stress_scale * tau) * dx;
      }
  }

  static Lane rows_of(Real a, Real b, Real c, Real d) { return Lane{a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d}; }
  static Lane along_z(Real a, Real b, Real c) { return Lane{a, a, a, a, b, b, b, b, c, c, c, c, 0, 0, 0, 0}; }

  void add_rows(Lane rows[3][3], const int *base) {
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++) {
        Row *place = reinterpret_cast<Row *>(node(base[0] + i, base[1] + j, base[2]));
        *place += rows[i][j];
        rows[i][j] = all(0);
      }
  }

  void scatter() {
    for (int i = low[0]; i < high[0]; i++)
      for (int j = low[1]; j < high[1]; j++) std::memset(node(i, j, low[2]), 0, 4 * sizeof(Real) * (high[2] - low[2] + 1));
    Lane rows[3][3];
    for (auto &line : rows)
      for (auto &row : line) row = all(0);
    int here[3] = {-1, -1, -1};
    const Lane third = along_z(0, 1, 2);
    for (int t = 0; t < tiles; t++) {
      Tile &tile = particles[t];
      Weights weights;
      Lane A[9];
      weigh(tile, weights);
      stress(tile, A);
      Lane momentum[3];
      Lane f[3];
      std::memcpy(f, weights.f, sizeof f);
      for (int i = 0; i < 3; i++) momentum[i] = mass * tile.v[i] - f[0] * A[3 * i] - f[1] * A[3 * i + 1] - f[2] * A[3 * i + 2];
      const int filled = std::min(W, n - t * W);
      for (int l = 0; l < filled; l++) {
        const int base[3] = {weights.base[0][l], weights.base[1][l], weights.base[2][l]};
        if (base[0] != here[0] || base[1] != here[1] || base[2] != here[2]) {
          if (here[0] >= 0) add_rows(rows, here);
          std::memcpy(here, base, sizeof here);
        }
        const Lane wz = along_z(weights.w[2][0][l], weights.w[2][1][l], weights.w[2][2][l]);
        const Lane Az = rows_of(A[2][l], A[5][l], A[8][l], 0);
        const Lane start = wz * (rows_of(momentum[0][l], momentum[1][l], momentum[2][l], mass) + third * Az);
        const Lane Ax = wz * rows_of(A[0][l], A[3][l], A[6][l], 0), Ay = wz * rows_of(A[1][l], A[4][l], A[7][l], 0);
        for (int i = 0; i < 3; i++) {
          const Lane line = start + Real(i) * Ax;
          for (int j = 0; j < 3; j++) rows[i][j] += weights.w[0][i][l] * weights.w[1][j][l] * (line + Real(j) * Ay);
        }
      }
    }
    add_rows(rows, here);
  }

  static void coulomb(Real &ux, Real &uy, Real &uz, Real nx, Real ny, Real nz, Real friction) {
    const Real un = ux * nx + uy * ny + uz * nz;
    const Real tx = ux - un * nx, ty = uy - un * ny, tz = uz - un * nz;
    const Real slip = std::max(Real(0), 1 + friction * un / std::sqrt(tx * tx + ty * ty + tz * tz + Real(1e-20)));
    const bool leaves = un >= 0;
    ux = leaves ? ux : slip * tx;
    uy = leaves ? uy : slip * ty;
    uz = leaves ? uz : slip * tz;
  }

  void grid_step(const Real place[2][3], const Real speed[2][3]) {
    const Real layer = Real(0.5) * dx;
    const int count = high[2] - low[2];
    for (int i = low[0]; i < high[0]; i++)
      for (int j = low[1]; j < high[1]; j++) {
        Real *row = node(i, j, low[2]);
        const Real x = i * dx, y = j * dx;
#pragma omp simd
        for (int k = 0; k < count; k++) {
          const Real m = row[4 * k + 3], z = (low[2] + k) * dx, over = m > 0 ? 1 / m : Real(0);
          Real vx = row[4 * k] * over + dt * gravity[0], vy = row[4 * k + 1] * over + dt * gravity[1],
               vz = row[4 * k + 2] * over + dt * gravity[2];
          for (int c = 0; c < 2; c++) {
            const Real rx = x - place[c][0], ry = y - place[c][1], rz = z - place[c][2], half = capsule[c][3];
            const Real dz = rz - std::max(-half, std::min(rz, half));
            const Real distance = std::sqrt(rx * rx + ry * ry + dz * dz + Real(1e-20)), phi = distance - capsule[c][4];
            const Real s = std::max(Real(0), std::min((layer - phi) / (2 * layer), Real(1))), weight = s * s * (3 - 2 * s);
            Real ux = vx - speed[c][0], uy = vy - speed[c][1], uz = vz - speed[c][2];
            const Real ax = ux, ay = uy, az = uz;
            coulomb(ux, uy, uz, rx / distance, ry / distance, dz / distance, capsule[c][5]);
            vx += weight * (ux - ax);
            vy += weight * (uy - ay);
            vz += weight * (uz - az);
          }
          Real gx = vx, gy = vy, gz = vz;
          coulomb(gx, gy, gz, 0, 0, 1, ground_friction);
          const bool below = z <= ground;
          row[4 * k] = below ? gx : vx;
          row[4 * k + 1] = below ? gy : vy;
          row[4 * k + 2] = below ? gz : vz;
          row[4 * k + 3] = 0;
        }
      }
  }

  static Four folded(Lane a) {
    Four part[4];
    std::memcpy(part, &a, sizeof a);
    return (part[0] + part[1]) + (part[2] + part[3]);
  }

  void gather() {
    Lane rows[3][3];
    int here[3] = {-1, -1, -1};
    const Real spread = 4 * inv_dx;
    const Lane third = along_z(0, 1, 2);
    for (int t = 0; t < tiles; t++) {
      Tile &tile = particles[t];
      Weights weights;
      weigh(tile, weights);
      alignas(64) Real found[12][W] = {};
      const int filled = std::min(W, n - t * W);
      for (int l = 0; l < filled; l++) {
        const int base[3] = {weights.base[0][l], weights.base[1][l], weights.base[2][l]};
        if (base[0] != here[0] || base[1] != here[1] || base[2] != here[2]) {
          std::memcpy(here, base, sizeof here);
          for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) std::memcpy(&rows[i][j], node(base[0] + i, base[1] + j, base[2]), sizeof(Lane));
        }
        Lane sum = all(0), by_x = all(0), by_y = all(0);
        for (int i = 0; i < 3; i++) {
          const Real w0 = weights.w[1][0][l], w1 = weights.w[1][1][l], w2 = weights.w[1][2][l], wx = weights.w[0][i][l];
          const Lane second = w1 * rows[i][1], last = w2 * rows[i][2], line = w0 * rows[i][0] + second + last;
          sum += wx * line;
          by_x += Real(i) * wx * line;
          by_y += wx * (second + 2 * last);
        }
        const Lane wz = along_z(weights.w[2][0][l], weights.w[2][1][l], weights.w[2][2][l]);
        const Four v = folded(wz * sum), Bx = folded(wz * by_x), By = folded(wz * by_y), Bz = folded(wz * third * sum);
        for (int d = 0; d < 3; d++) {
          found[d][l] = v[d];
          found[3 + 3 * d][l] = spread * (Bx[d] - weights.f[0][l] * v[d]);
          found[4 + 3 * d][l] = spread * (By[d] - weights.f[1][l] * v[d]);
          found[5 + 3 * d][l] = spread * (Bz[d] - weights.f[2][l] * v[d]);
        }
      }
      std::memcpy(tile.v, found, sizeof tile.v);
      std::memcpy(tile.C, found[3], sizeof tile.C);
      for (int d = 0; d < 3; d++) tile.x[d] += dt * tile.v[d];
    }
  }
};

}  // namespace

// Positions (n, 3) in and out, sorted by cell. numbers: mass, volume, mu, lam, yield limit, dt, ground height, ground friction,
// gravity (3). capsules (2, 6); velocity (control_steps, 2, 3). All as in problem.py.
extern "C" void rollout(int n, int cells, int control_steps, int substeps, const double *numbers, const double *capsules,
                    const double *velocity, double *x) {
  Limit run;
  run.n = n, run.tiles = (n + W - 1) / W, run.cells = cells, run.substeps = substeps;
  run.mass = numbers[0], run.mu = numbers[2], run.lam = numbers[3], run.yield_limit = numbers[4], run.dt = numbers[5];
  run.dx = Real(1) / cells, run.inv_dx = cells;
  run.stress_scale = numbers[5] * numbers[1] * 4 * cells * cells;
  run.ground = numbers[6], run.ground_friction = numbers[7];
  for (int d = 0; d < 3; d++) run.gravity[d] = numbers[8 + d];
  for (int c = 0; c < 2; c++)
    for (int d = 0; d < 6; d++) run.capsule[c][d] = capsules[6 * c + d];
  run.particles.resize(run.tiles);
  run.grid.assign(4 * (size_t(cells) * cells * cells + 4), 0);
  for (int p = 0; p < run.tiles * W; p++) {
    auto &tile = run.particles[p / W];
    const int from = std::min(p, n - 1);  // the last tile is filled up with copies that nobody reads
    for (int d = 0; d < 3; d++) tile.x[d][p % W] = x[3 * from + d], tile.v[d][p % W] = 0;
    for (int d = 0; d < 9; d++) tile.C[d][p % W] = 0, tile.F[d][p % W] = d % 4 == 0 ? 1 : 0;
  }
  Real place[2][3], speed[2][3];
  for (int c = 0; c < 2; c++)
    for (int d = 0; d < 3; d++) place[c][d] = capsules[6 * c + d];
  for (int step = 0; step < control_steps; step++) {
    for (int c = 0; c < 2; c++)
      for (int d = 0; d < 3; d++) speed[c][d] = velocity[6 * step + 3 * c + d];
    for (int s = 0; s < substeps; s++) {
      run.find_box();
      run.scatter();
      run.grid_step(place, speed);
      run.gather();
      for (int c = 0; c < 2; c++)
        for (int d = 0; d < 3; d++) place[c][d] += run.dt * speed[c][d];
    }
  }
  for (int p = 0; p < n; p++)
    for (int d = 0; d < 3; d++) x[3 * p + d] = run.particles[p / W].x[d][p % W];
}
