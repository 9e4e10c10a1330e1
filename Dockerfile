# Build:          docker build -t sessiongraph .
# Run:            docker run -p 4000:4000 -v sessiongraph:/data --name sessiongraph sessiongraph
# First API key:  docker exec sessiongraph node .build/scripts/key.js create --name me --scope admin
#
# The server listens on all addresses of the container, so every request needs an API key.
# With DATABASE_URL the server uses that Postgres and needs no volume.

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --include=dev --include=optional
COPY . .
# Generates the database client and builds, then removes what only the build needs.
RUN node scripts/setup.mjs && node scripts/prune-packages.mjs

FROM node:24-slim
ENV NODE_ENV=production SESSIONGRAPH_DATA=/data HOST=0.0.0.0
WORKDIR /app
RUN install -d -o node -g node -m 700 /data
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/.build .build
COPY --from=build /app/package.json ./
COPY prisma/migrations prisma/migrations
USER node
VOLUME /data
EXPOSE 4000
# Whether the process answers. An unreachable database makes the server unready, but a restart of the container would not help.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=1s \
  CMD ["node", "-e", "fetch(`http://${(process.env.HOST || '127.0.0.1').replace(/^(.*:.*)$/, '[$1]')}:${process.env.PORT || 4000}/livez`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
CMD ["node", ".build/src/main.js"]
