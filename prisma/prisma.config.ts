import { defineConfig } from 'prisma/config';

// No datasource: the server connects through a driver adapter and applies migrations itself (src/postgres/migrations.ts).
export default defineConfig({ schema: 'schema.prisma', migrations: { path: 'migrations' } });
